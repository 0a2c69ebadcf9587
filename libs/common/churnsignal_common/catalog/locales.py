"""Pure. The languages that the product speaks."""

from dataclasses import dataclass
from enum import StrEnum


class Locale(StrEnum):
    """A reader's language."""

    EN = "en"
    JA = "ja"


@dataclass(frozen=True, slots=True)
class Both:
    """One text in both languages; a missing one cannot be constructed."""

    en: str
    ja: str

    def to(self, locale: Locale) -> str:
        return self.ja if locale is Locale.JA else self.en
