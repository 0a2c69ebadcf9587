"""Pure. A sheet of accounts as profile edits: one row, one edit; and everything that is wrong with it, by line and column."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from churnsignal_common.contracts.days import is_zone
from churnsignal_common.contracts.envelope import id_text
from churnsignal_common.mapping.mapper import Mapper, plain_name

from churnsignal_scoring.health.profile import LIFECYCLES, PROFILE_DAYS, PROFILE_NUMBERS
from churnsignal_scoring.health.values import as_date, as_number

ACCOUNT_COLUMNS = ("account_id", "account", "group_id", "id")
CLEAR = "null"
LONGEST = 256


@dataclass(frozen=True, slots=True)
class Edit:
    """What a line says of an account; a trait that is None is cleared."""

    line: int
    account: str
    traits: dict[str, Any]


@dataclass(slots=True)
class Sheet:
    """All edits of a file; they count only when there are no `problems`."""

    edits: list[Edit] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def cleared(self) -> int:
        return sum(value is None for edit in self.edits for value in edit.traits.values())


def read_sheet(columns: list[str], rows: Iterable[tuple[int, Mapping[str | None, Any]]], mapper: Mapper) -> Sheet:
    """Return the edits of the rows, which come with their line numbers. An empty cell leaves a trait as it is, `null` clears it."""
    sheet = Sheet()
    key = next((name for name in columns if plain_name(name) in {plain_name(known) for known in ACCOUNT_COLUMNS}), None)
    if key is None:
        sheet.problems.append(f"1: no column for the account's id; call one {ACCOUNT_COLUMNS[0]}")
        return sheet
    facts = {name: mapper.fact_of(name) for name in columns if name != key}
    for name, fact in facts.items():
        if fact is None:
            sheet.problems.append(
                f"1: {name}: no trait of this name; rename the column, name it in mapping.yaml under profile, or leave it out"
            )
    _check_twice(facts, sheet)
    seen: dict[str, int] = {}
    for line, row in rows:
        _read_row(line, row, key, facts, sheet, seen)
    return sheet


def _check_twice(facts: dict[str, str | None], sheet: Sheet) -> None:
    names: dict[str, str] = {}
    for name, fact in facts.items():
        if fact is not None and (other := names.setdefault(fact, name)) != name:
            sheet.problems.append(f"1: {name}: means the same as {other}; keep one")


def _read_row(line: int, row: Mapping[str | None, Any], key: str, facts: dict[str, str | None], sheet: Sheet, seen: dict[str, int]) -> None:
    if row.get(None) or any(value is None for value in row.values()):
        sheet.problems.append(f"{line}: not as many cells as the first line has columns; check commas and quotes")
        return
    account = id_text(row[key])
    if account is None or len(account.encode()) > 255 or "\0" in account:
        sheet.problems.append(f"{line}: {key}: an account's id of 1 to 255 bytes is missing")
        return
    if (first := seen.setdefault(account, line)) != line:
        sheet.problems.append(f"{line}: {key}: {account!r} is on line {first} too; keep one")
        return
    traits: dict[str, Any] = {}
    for name, fact in facts.items():
        cell = row[name].strip()
        if fact is None or not cell:
            continue
        problem = None if cell == CLEAR else wrong(fact, cell)
        if problem:
            sheet.problems.append(f"{line}: {name}: {cell[:40]!r}: {problem}")
        traits[fact] = None if cell == CLEAR else as_number(cell) if fact in PROFILE_NUMBERS else cell
    if traits:
        sheet.edits.append(Edit(line, account, traits))


def wrong(fact: str, value: Any) -> str | None:
    """Return what is wrong with the value of a fact, None when it will do."""
    number = as_number(value)
    if fact in PROFILE_NUMBERS and (number is None or number < 0):
        return "write a number such as 12000 or 12000.50, without a currency"
    if fact in PROFILE_DAYS and as_date(value) is None:
        return "write a day such as 2027-03-31"
    if fact == "lifecycle" and str(value).casefold() not in LIFECYCLES:
        return f"write one of {', '.join(sorted(LIFECYCLES))}"
    if fact == "timezone" and not is_zone(str(value)):
        return "write a zone such as Asia/Tokyo"
    if len(str(value)) > LONGEST or "\0" in str(value):
        return f"write at most {LONGEST} characters"
    return None
