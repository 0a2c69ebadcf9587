"""Pure. The text of a mapping to what it says, with every mistake at its line."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from churnsignal_common.contracts.contact import Way
from churnsignal_common.document import Document, Path, packaged_schema, read_document, version_of
from churnsignal_common.mapping.mapper import Contact, Ignore, MappingConfig, Rule, Where, plain_name

RESERVED = frozenset({"override", "outcome"})
DEFAULT_PATHS = ("traits.company.id", "context.traits.company.id")


# A start reads the same text again and again, as for scorecards.
@lru_cache(maxsize=8)
def parse_mapping(text: str, file: str) -> MappingConfig:
    """Return the mapping; raises `ConfigError`."""
    document = read_document(text, file, packaged_schema(__package__, "mapping.schema.json"))
    value = document.value
    _refuse_reserved(document)
    ignore = value.get("ignore", {})
    return MappingConfig(
        version=version_of(value["name"], text),
        account_paths=tuple(value.get("account_paths", DEFAULT_PATHS)),
        rules=tuple(_rule(row) for row in value.get("signals", [])),
        profile={fact: tuple(aliases) for fact, aliases in value.get("profile", {}).items()},
        ignore=Ignore(
            users=frozenset(ignore.get("users", [])),
            email_domains=frozenset(domain.casefold() for domain in ignore.get("email_domains", [])),
            accounts=frozenset(ignore.get("accounts", [])),
            events=frozenset(ignore.get("events", [])),
            user_agents=tuple(ignore.get("user_agents", [])),
        ),
    )


def _refuse_reserved(document: Document) -> None:
    taken: dict[str, str] = {}
    for fact, aliases in document.value.get("profile", {}).items():
        if fact in RESERVED:
            raise document.error(("profile", fact), f"{fact!r} is set by people through the API", "choose another name")
        for place, alias in enumerate((fact, *aliases)):
            other = taken.setdefault(plain_name(alias), fact)
            if other != fact:
                path: Path = ("profile", fact, place - 1) if place else ("profile", fact)
                raise document.error(path, f"{alias!r} is read as {other!r} already", "keep it in one place")
    for index, row in enumerate(document.value.get("signals", [])):
        if row.get("by_user") and ":" in row["signal"]:
            raise document.error(
                ("signals", index, "by_user"), "the users of a feature's calls are not kept", "give the signal a plain name"
            )
        if "contact" in row and row.get("active", True):
            raise document.error(("signals", index, "contact"), "a contact with the account is no use by it", "add active: false")
        for fact in row.get("facts", {}):
            if fact in RESERVED:
                raise document.error(("signals", index, "facts", fact), f"{fact!r} is set by people through the API", "choose another name")


def _rule(row: dict[str, Any]) -> Rule:
    where, contact = row.get("where"), row.get("contact")
    return Rule(
        signal=row["signal"],
        events=tuple(row["events"]),
        active=row.get("active", True),
        where=None if where is None else Where(where["property"], tuple(where.get("in", ())), _small(where.get("contains", ()))),
        facts=tuple(row.get("facts", {}).items()),
        by_user=row.get("by_user", False),
        amount=row.get("amount"),
        contact=None if contact is None else Contact(Way(contact["way"]), contact.get("by", "by"), contact.get("note", "note")),
    )


def _small(parts: Iterable[str]) -> tuple[str, ...]:
    return tuple(part.casefold() for part in parts)
