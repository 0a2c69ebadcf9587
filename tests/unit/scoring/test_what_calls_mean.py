"""The default mapping: what counts as use, what is remembered, what is left out."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from churnsignal_common.contracts.envelope import Envelope, Format, OverrideSet
from churnsignal_common.mapping.mapper import Ignore, Mapper, MappingConfig, Rule, Where
from churnsignal_scoring.policy import load_mapping

from tests.unit.scoring.accounts import MAPPER, command, envelope

DEFAULT = load_mapping(None)


@pytest.mark.parametrize(
    ("event", "active", "signals"),
    [
        ("Report Viewed", True, ("use", "feature_used:Report Viewed")),
        ("Signed In", True, ("use", "login")),
        ("signed_in", True, ("use", "login")),
        ("signedIn", True, ("use", "login")),
        ("Query Failed", True, ("use", "error")),
        ("Invoice Payment Failed", False, ("payment_failed",)),
        ("invoice.payment_failed", False, ("payment_failed",)),
        ("registered", False, ("signup",)),
        ("subscribed", False, ("signup",)),
        ("Ticket Created", False, ("ticket_opened",)),
        ("", True, ("use", "feature_used:")),
        ("A\0B", True, ("use", "feature_used:AB")),
    ],
)
def test_track_calls_become_signals(event: str, active: bool, signals: tuple[str, ...]) -> None:
    usage = MAPPER.usage(envelope("a", 0, event=event))

    assert (usage.active, usage.signals, usage.ignored) == (active, signals, None)


@pytest.mark.parametrize(
    ("kind", "active", "signals"), [("page", True, ("use", "page_viewed")), ("screen", True, ("use", "page_viewed")), ("alias", False, ())]
)
def test_other_calls(kind: str, active: bool, signals: tuple[str, ...]) -> None:
    usage = MAPPER.usage(envelope("a", 0, kind=kind, name="Pricing"))

    assert (usage.active, usage.signals) == (active, signals)


@pytest.mark.parametrize(
    "call",
    [envelope("a", 0, event="Invoice Payment Failed"), envelope("a", 0, kind="group", traits={"mrr": 5, "owner": "thief@example.com"})],
)
def test_a_public_key_tells_no_facts_of_an_account_and_its_calls_count_all_the_same(call: Envelope) -> None:
    trusted = MAPPER.usage(call)

    assert trusted.facts
    assert MAPPER.usage(msgspec.structs.replace(call, public=True)) == replace(trusted, facts=())


def test_a_call_of_a_kind_we_do_not_know_is_ignored_with_its_reason() -> None:
    assert MAPPER.usage(envelope("a", 0, kind="teleport")).ignored == "unknown_type"


@pytest.mark.parametrize(
    ("traits", "facts"),
    [
        ({"plan": "pro", "Seats": 12}, {"plan": "pro", "seats": 12}),
        ({"renewalDate": "2026-09-30", "renewal_date": "2026-09-30"}, {"renewal_on": "2026-09-30"}),
        ({"csm_email": "a@b.example", "annualRecurringRevenue": 1.5}, {"owner": "a@b.example", "arr": 1.5}),
        ({"plan": None}, {"plan": None}),
        ({"plan": {"deep": 1}, "name": ["a"], "shoe_size": 43}, {}),
        ({"plan_name": "old", "plan": "new", "a_plan": "no"}, {"plan": "new"}),
        ({"plan": "x" * 999}, {"plan": "x" * 256}),
        ({"override": "green", "outcome": "churned"}, {}),
        ({}, {}),
    ],
)
def test_group_traits_are_facts_whatever_their_spelling(traits: dict[str, Any], facts: dict[str, Any]) -> None:
    usage = MAPPER.usage(envelope("a", 0, kind="group", traits=traits))

    assert dict(reversed(usage.facts)) == facts
    assert not usage.active


def test_the_company_of_an_identified_user_is_the_account_and_the_user_is_not_kept() -> None:
    usage = MAPPER.usage(envelope("a", 0, kind="identify", traits={"email": "a@b.example", "plan": "mine", "company": {"plan": "theirs"}}))

    assert usage.facts == (("plan", "theirs"),)


def test_a_failed_payment_is_remembered_and_an_answer_keeps_its_number() -> None:
    assert MAPPER.usage(envelope("a", 0, event="Payment Failed")).facts == (("payment_failed", True),)
    assert MAPPER.usage(envelope("a", 0, event="NPS Submitted", properties={"score": 7})).facts == (("nps", 7),)
    assert MAPPER.usage(envelope("a", 0, event="NPS Submitted", properties={"score": 3})).facts == (("nps", 3),)
    assert MAPPER.usage(envelope("a", 0, event="NPS Submitted")).facts == (("nps", None),)


@pytest.mark.parametrize(
    ("context", "reason"),
    [
        ({"active": False}, "context_inactive"),
        ({"active": True}, None),
        ({"userAgent": "Mozilla/5.0 (compatible; Googlebot/2.1)"}, "bot"),
        ({"userAgent": "Mozilla/5.0 Firefox/140.0"}, None),
        ({"traits": {"email": "eve@Ours.example"}}, "internal_user"),
        ({"traits": {"email": "eve@theirs.example"}}, None),
        ("not an object", None),
        (None, None),
    ],
)
def test_calls_that_are_no_use_by_a_customer_are_ignored_by_what_they_say_themselves(context: Any, reason: str | None) -> None:
    mapper = Mapper(replace(DEFAULT, ignore=replace(DEFAULT.ignore, email_domains=frozenset({"ours.example"}))))

    assert mapper.usage(envelope("a", 0, context=context)).ignored == reason


def test_the_context_of_the_batch_speaks_for_items_without_one() -> None:
    sent = envelope("a", 0)
    batch = msgspec.structs.replace(sent, batch_context=msgspec.Raw(b'{"userAgent":"bingbot/2.0"}'))

    assert MAPPER.usage(batch).ignored == "bot"
    assert MAPPER.usage(sent).ignored is None


def test_users_and_accounts_of_our_own_are_left_out() -> None:
    mapper = Mapper(
        MappingConfig("x", ignore=Ignore(users=frozenset({"u1"}), accounts=frozenset({"acme"}), events=frozenset({"Heartbeat"})))
    )

    assert mapper.usage(envelope("a", 0)).ignored == "internal_user"
    assert mapper.usage(envelope("a", 0, user="u2")).ignored == "test_account"


def test_an_ignored_event_counts_as_nothing() -> None:
    mapper = Mapper(MappingConfig("x", ignore=Ignore(events=frozenset({"Heartbeat"}))))

    assert mapper.usage(envelope("a", 0, event="heart_beat")).ignored == "ignored_event"


@pytest.mark.parametrize("name", [5, True, ["a"], {"a": 1}])
def test_a_name_that_is_no_text_names_nothing_and_the_call_counts(name: Any) -> None:
    assert Mapper(DEFAULT).usage(envelope("a", 0, event="Signed In", name=name)).signals == ("use", "login")
    assert Mapper(DEFAULT).usage(envelope("a", 0, kind="page", name=name)).signals == ("use", "page_viewed")


def test_a_users_company_is_known_from_traits_and_where_they_are_absent_from_those_of_the_context() -> None:
    told, other = {"company": {"plan": "pro"}}, {"company": {"plan": "free"}}

    assert dict(MAPPER.usage(envelope("a", 0, kind="identify", traits=told, context={"traits": other})).facts) == {"plan": "pro"}
    assert dict(MAPPER.usage(envelope("a", 0, kind="identify", context={"traits": told})).facts) == {"plan": "pro"}
    assert MAPPER.usage(envelope("a", 0, kind="identify", context={"traits": "none"})).facts == ()


@pytest.mark.parametrize(
    ("value", "amount"), [(3, 3), (2.9, 2), ("3", 3), (-1, 0), (True, 0), (None, 0), ("many", 0), (10**400, 0), ("nan", 0), ([1], 0)]
)
def test_an_amount_is_a_number_also_in_quotes_and_what_is_none_counts_nothing(value: Any, amount: int) -> None:
    mapper = Mapper(MappingConfig("x", (Rule("rows", ("Exported",), amount="rows"),)))

    assert mapper.usage(envelope("a", 0, event="Exported", properties={"rows": value})).amounts == (("rows", amount),)


def test_a_rule_may_ask_for_the_value_of_a_property() -> None:
    mapper = Mapper(MappingConfig("x", (Rule("error", ("Query Run",), where=Where("status", ("failed", 500))),)))

    seen = [mapper.usage(envelope("a", 0, event="Query Run", properties={"status": status})).signals for status in ("failed", 500, "ok")]

    assert seen == [("use", "error"), ("use", "error"), ("use", "feature_used:Query Run")]


def test_a_cloud_event_is_read_by_its_type_or_the_last_word_of_it() -> None:
    raw = msgspec.Raw(b'{"specversion":"1.0","type":"com.example.billing.payment_failed","data":{"amount":1}}')
    sent = msgspec.structs.replace(envelope("a", 0), format=Format.CLOUDEVENTS, call=raw)

    assert MAPPER.usage(sent).signals == ("payment_failed",)


def test_commands_become_facts() -> None:
    override = command("a", 0, type="override.set", band="green", reason="QBR", author="eve", expires_at="2026-03-01T00:00:00Z")
    edited = command("b", 0, type="profile.edited", traits={"Seats": 5, "unknown": 1}, author="eve")

    assert isinstance(MAPPER.usage(override).command, OverrideSet)
    assert dict(MAPPER.usage(override).facts)["override"]["band"] == "green"
    assert dict(MAPPER.usage(command("c", 0, type="override.cleared", author="eve")).facts) == {"override": None}
    assert dict(MAPPER.usage(edited).facts) == {"seats": 5}


@pytest.mark.parametrize("raw", [b"", b"nonsense", b"[1,2]", b'"text"', b'{"type":7}'])
def test_what_is_no_call_raises_what_the_caller_expects(raw: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        MAPPER.usage(msgspec.structs.replace(envelope("a", 0), call=msgspec.Raw(raw)))
