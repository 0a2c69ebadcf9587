"""Pure. What calls mean: raw event names and properties to canonical signals and facts, by configuration."""

import re
from dataclasses import dataclass, field, replace
from datetime import UTC
from typing import Any

import msgspec

from churnsignal_common.contracts.contact import Way
from churnsignal_common.contracts.envelope import (
    NULL,
    OVERRIDE_LASTS,
    Envelope,
    Format,
    OutcomeRecorded,
    OverrideCleared,
    OverrideSet,
    ProfileEdited,
    command_decoder,
)
from churnsignal_common.mapping.usage import FEATURE_PREFIX, USE, Touch, Usage

NAME_CHARS = 64
TEXT_CHARS = 256
NOTE_CHARS = 500
_CACHE_NAMES = 20_000
_MOST = 10**12
_ACTIVITY = frozenset({"track", "page", "screen"})
_SILENT = frozenset({"identify", "group", "alias"})
_OTHER = re.compile(r"[\W_]+")
# "Order 48213 viewed" is one feature, not one per order.
_NUMBERS = re.compile(r"\d{3,}")


@dataclass(frozen=True, slots=True)
class Where:
    """A property has one of `values`, or its text contains one of `parts` (small letters)."""

    property: str
    values: tuple[Any, ...] = ()
    parts: tuple[str, ...] = ()

    def fits(self, value: Any) -> bool:
        return value in self.values or (isinstance(value, str) and any(part in value.casefold() for part in self.parts))


@dataclass(frozen=True, slots=True)
class Contact:
    """Calls tell of a contact with the account: how, and the properties that say by whom and what about."""

    way: Way
    by: str = "by"
    note: str = "note"


@dataclass(frozen=True, slots=True)
class Rule:
    """Calls of these names are `signal`; with `where`, only those it fits.

    `facts` names what to remember: a fact and the property it is read from; None remembers only that it happened. `by_user` keeps whose calls
    they were, `amount` is the property that says how often a call counts.
    """

    signal: str
    events: tuple[str, ...]
    active: bool = True
    where: Where | None = None
    facts: tuple[tuple[str, str | None], ...] = ()
    by_user: bool = False
    amount: str | None = None
    contact: Contact | None = None


@dataclass(frozen=True, slots=True)
class Ignore:
    """Whose calls are not use by a customer: known from the call itself, never from what we learn later."""

    users: frozenset[str] = frozenset()
    email_domains: frozenset[str] = frozenset()
    accounts: frozenset[str] = frozenset()
    events: frozenset[str] = frozenset()
    user_agents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MappingConfig:
    """`profile` maps a canonical fact to the trait names it is read from; `account_paths` are where ingest finds an account's id."""

    version: str
    rules: tuple[Rule, ...] = ()
    profile: dict[str, tuple[str, ...]] = field(default_factory=dict)
    ignore: Ignore = Ignore()
    account_paths: tuple[str, ...] = ()


class _Said(msgspec.Struct):
    """What of a context may say that a call is no use."""

    agent: msgspec.Raw = msgspec.field(name="userAgent", default=NULL)
    active: msgspec.Raw = NULL

    @property
    def speaks(self) -> bool:
        return self.agent is not NULL or self.active is not NULL


class _Kind(msgspec.Struct):
    type: str = ""
    context: _Said | list[msgspec.Raw] | str | float | bool | None = None


class _Name(_Kind):
    event: str | None = None


class _Head(msgspec.Struct):
    type: str = ""
    event: msgspec.Raw = NULL
    context: msgspec.Raw = NULL
    name: msgspec.Raw = NULL
    properties: msgspec.Raw = NULL
    traits: msgspec.Raw = NULL
    data: msgspec.Raw = NULL


_kind_decoder = msgspec.json.Decoder(_Kind)
_name_decoder = msgspec.json.Decoder(_Name)
_head_decoder = msgspec.json.Decoder(_Head)
_decode = msgspec.json.decode
_NOTHING = Usage(active=False, signals=())


def plain_name(name: str) -> str:
    """Return `name` without case, spaces and punctuation: `Invoice Payment Failed` is `invoice_payment_failed`."""
    return _OTHER.sub("", name).casefold()


class Mapper:
    """Reads calls by one mapping. Calls whose properties do not matter are looked up by (type, event name)."""

    def __init__(self, config: MappingConfig) -> None:
        self.version = config.version
        self._ignore = config.ignore
        self._rules: dict[str, list[Rule]] = {}
        for rule in config.rules:
            for event in rule.events:
                self._rules.setdefault(plain_name(event), []).append(rule)
        self._ignored_events = frozenset(plain_name(event) for event in config.ignore.events)
        self._profile = {plain_name(alias): fact for fact, aliases in config.profile.items() for alias in (fact, *aliases)}
        self._agents = tuple(agent.casefold() for agent in config.ignore.user_agents)
        self._whose = bool(config.ignore.users or config.ignore.accounts or config.ignore.email_domains)
        self.properties = frozenset(name for rule in config.rules for name in _properties(rule))
        self._known: dict[tuple[str, str | None], Usage] = {}

    def is_trait(self, name: str) -> bool:
        """Return whether a trait of this name is kept as a fact of the account."""
        return self.fact_of(name) is not None

    def fact_of(self, name: str) -> str | None:
        """Return the fact that a trait of this name is kept as, whatever its spelling."""
        return self._profile.get(plain_name(name))

    def names(self, event: str) -> bool:
        """Return whether a rule, or the list of what to ignore, names this event."""
        plain = plain_name(event)
        return plain in self._rules or plain in self._ignored_events or plain_name(event.rpartition(".")[2]) in self._rules

    def usage(self, envelope: Envelope) -> Usage:
        """Return what the call means; raises `msgspec.DecodeError` when the call is no JSON object."""
        if envelope.format is Format.COMMAND:
            return self._command(envelope)
        # What a CloudEvent calls `event` is an attribute as any other, of any type.
        head = _name_decoder.decode(envelope.call) if envelope.format is Format.SEGMENT else _kind_decoder.decode(envelope.call)
        said = head.context
        # Most contexts say nothing of whose call it is; finding that out must not cost reading them.
        odd = self._whose or envelope.batch_context is not NULL or (isinstance(said, _Said) and said.speaks)
        if odd and (reason := self._ignored(envelope)):
            return Usage(active=False, signals=(), ignored=reason)
        usage = self._known.get((head.type, head.event)) if isinstance(head, _Name) else None
        if usage is None:
            usage = self._read(envelope, _head_decoder.decode(envelope.call))
        return replace(usage, facts=(), contact=None) if envelope.public and (usage.facts or usage.contact) else usage

    def _ignored(self, envelope: Envelope) -> str | None:
        head = _head_decoder.decode(envelope.call)
        if envelope.user in self._ignore.users:
            return "internal_user"
        if envelope.account in self._ignore.accounts:
            return "test_account"
        said = _object(envelope.batch_context if head.context is NULL else head.context)
        if said.get("active") is False and head.type in _ACTIVITY:
            return "context_inactive"
        if self._is_bot(str(said.get("userAgent", ""))):
            return "bot"
        if self._ignore.email_domains and self._is_internal(said, head.traits):
            return "internal_user"
        return None

    def _is_bot(self, agent: str) -> bool:
        folded = agent.casefold()
        return any(part in folded for part in self._agents)

    def _is_internal(self, context: dict[str, Any], own: msgspec.Raw) -> bool:
        traits = (context.get("traits"), _object(own))
        emails = [str(found.get("email", "")) for found in traits if isinstance(found, dict)]
        return any(email.rpartition("@")[2].casefold() in self._ignore.email_domains for email in emails if email)

    def _read(self, envelope: Envelope, head: _Head) -> Usage:
        if envelope.format is Format.CLOUDEVENTS:
            return self._event(("", None), head.type, head.data)
        if head.type == "track":
            event = _word(head.event)
            return self._event((head.type, event), event, head.properties)
        if head.type in _ACTIVITY:
            name = _word(head.name)
            return self._event(("", None), name, head.properties) if plain_name(name) in self._rules else Usage(True, (USE, "page_viewed"))
        if head.type in _SILENT:
            return self._profile_call(head)
        return Usage(active=False, signals=(), ignored="unknown_type")

    def _event(self, key: tuple[str, str | None], name: str, properties: msgspec.Raw) -> Usage:
        plain = plain_name(name)
        if plain in self._ignored_events:
            return Usage(active=False, signals=(), ignored="ignored_event")
        rules = self._rules.get(plain) or self._rules.get(plain_name(name.rpartition(".")[2]), [])
        if not any(rule.where or rule.facts or rule.amount or rule.contact for rule in rules):
            usage = _usage(name, rules, {})
            if key[0] and len(self._known) < _CACHE_NAMES:
                self._known[key] = usage
            return usage
        values = _object(properties)
        return _usage(name, [rule for rule in rules if rule.where is None or rule.where.fits(values.get(rule.where.property))], values)

    def _profile_call(self, head: _Head) -> Usage:
        traits = _object(head.traits)
        if head.type == "identify":
            # RudderStack's SDKs put them into the context only.
            said = traits or _object(head.context).get("traits")
            company = said.get("company") if isinstance(said, dict) else None
            traits = company if isinstance(company, dict) else {}
        if head.type == "alias" or not traits:
            return _NOTHING
        return Usage(active=False, signals=(), facts=self._traits(traits))

    def _traits(self, traits: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
        # The fact's own name before its aliases: of two spellings in one call the first is kept.
        names = sorted(traits, key=lambda name: (self._profile.get(plain_name(name)) != name, name))
        found = ((self._profile.get(plain_name(name)), traits[name]) for name in names)
        return tuple((fact, _scalar(value)) for fact, value in found if fact is not None and not isinstance(value, (dict, list)))

    def _command(self, envelope: Envelope) -> Usage:
        command = command_decoder.decode(envelope.call)
        facts: tuple[tuple[str, Any], ...] = ()
        match command:
            case OverrideSet():
                # Held between what every clock and format can tell, whatever stands on the log.
                expires = max(envelope.occurred_at, min(command.expires_at, envelope.occurred_at + OVERRIDE_LASTS)).astimezone(UTC)
                facts = (("override", msgspec.to_builtins(msgspec.structs.replace(command, expires_at=expires))),)
            case OverrideCleared():
                facts = (("override", None),)
            case OutcomeRecorded():
                facts = (("outcome", command.outcome),)
            case ProfileEdited():
                facts = self._traits(command.traits)
            case _:
                pass
        return Usage(active=False, signals=(), facts=facts, command=command)


def _properties(rule: Rule) -> list[str]:
    asked = [None if rule.where is None else rule.where.property, rule.amount, *(path for _, path in rule.facts)]
    asked += [rule.contact.by, rule.contact.note] if rule.contact else []
    return [name for name in asked if name is not None]


def _usage(name: str, rules: list[Rule], values: dict[str, Any]) -> Usage:
    if not rules:
        return Usage(True, (USE, FEATURE_PREFIX + _NUMBERS.sub("#", name.replace("\0", ""))[:NAME_CHARS]))
    active = any(rule.active for rule in rules)
    contact = next((rule.contact for rule in rules if rule.contact), None)
    return Usage(
        active=active,
        signals=((USE,) if active else ()) + tuple(rule.signal for rule in rules if rule.amount is None),
        facts=tuple((fact, _scalar(values.get(path)) if path else True) for rule in rules for fact, path in rule.facts),
        by_user=tuple(rule.signal for rule in rules if rule.by_user),
        amounts=tuple((rule.signal, _whole(values.get(rule.amount))) for rule in rules if rule.amount is not None),
        contact=None if contact is None else _touch(contact, values),
    )


def _touch(contact: Contact, values: dict[str, Any]) -> Touch:
    return Touch(contact.way, _text(values.get(contact.by), NAME_CHARS) or None, _text(values.get(contact.note), NOTE_CHARS))


def _whole(value: Any) -> int:
    """Return an amount that counts can hold, also of a number in quotes, as files of text have it; what is none counts nothing."""
    try:
        amount = 0.0 if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return 0
    return int(amount) if 0 <= amount <= _MOST else 0


def _object(raw: bytes | msgspec.Raw) -> dict[str, Any]:
    value = _decode(raw)
    return value if isinstance(value, dict) else {}


def _word(raw: msgspec.Raw) -> str:
    """Return a name; what is no text names nothing, and its call counts all the same."""
    value = _decode(raw)
    return value if isinstance(value, str) else ""


def _scalar(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "")[:TEXT_CHARS]  # Postgres keeps no NUL
    return value if isinstance(value, (bool, int, float)) else None


def _text(value: Any, chars: int) -> str:
    return value.replace("\0", "")[:chars].strip() if isinstance(value, str) else ""
