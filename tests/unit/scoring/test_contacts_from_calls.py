"""A call that a CRM sends becomes a line of the account's contact log."""

from typing import Any

import msgspec
import pytest
from churnsignal_common.contracts.contact import Way
from churnsignal_common.contracts.envelope import Envelope
from churnsignal_common.document import ConfigError
from churnsignal_common.mapping.mapper import Mapper
from churnsignal_common.mapping.parse import parse_mapping
from churnsignal_common.mapping.usage import Touch

from tests.unit.scoring.accounts import MAPPER, envelope
from tests.unit.scoring.town import Town

OWN = """
name: own
signals:
  - {signal: touched, active: false, events: [Activity Logged], where: {property: kind, in: [visit]}, contact: {way: meeting, by: agent, note: body}}
"""


def logged(name: str = "c1", event: str = "Call Logged", **properties: Any) -> Envelope:
    return envelope(name, 0, event=event, user="crm-7", source="crm", properties={"by": "Hanako", "note": "they test it", **properties})


@pytest.mark.parametrize(
    ("event", "way"),
    [
        ("call_logged", Way.CALL),
        ("Email Logged", Way.EMAIL),
        ("Meeting Logged", Way.MEETING),
        ("QBR Held", Way.MEETING),
        ("Note Logged", Way.NOTE),
    ],
)
def test_the_usual_names_are_known_and_none_is_use(event: str, way: Way) -> None:
    usage = MAPPER.usage(logged(event=event))

    assert (usage.contact, usage.active) == (Touch(way, "Hanako", "they test it"), False)


def test_what_is_no_text_or_too_long_is_left_out_or_cut() -> None:
    assert MAPPER.usage(logged(by=7, note={"a": 1})).contact == Touch(Way.CALL, None, "")
    assert MAPPER.usage(logged(note="a\0b" * 300)).contact == Touch(Way.CALL, "Hanako", ("ab" * 300)[:500])


def test_a_rule_says_which_calls_and_properties_it_means() -> None:
    mapper = Mapper(parse_mapping(OWN, "mapping.yaml"))

    visit, other = (mapper.usage(logged(event="Activity Logged", kind=kind, agent="Kei", body="tour")) for kind in ("visit", "mailing"))

    assert (visit.contact, other.contact) == (Touch(Way.MEETING, "Kei", "tour"), None)


def test_a_rule_that_counts_a_contact_as_use_is_refused_at_its_line() -> None:
    with pytest.raises(ConfigError, match=r"mapping.yaml:4: .*no use.*add active: false"):
        parse_mapping(OWN.replace(" active: false,", ""), "mapping.yaml")


def test_each_call_tells_of_its_contact_once_and_a_public_one_of_none() -> None:
    town = Town()
    public = msgspec.structs.replace(logged("c3"), public=True)
    town.put([logged("c1"), logged("c1"), logged("c2", by=None), public, msgspec.structs.replace(logged("c4"), history=True)])

    town.run()

    assert [(told.account, told.source, told.id, told.by) for told in town.contacts] == [
        ("acme", "crm", "c1", "Hanako"), ("acme", "crm", "c2", "crm-7"), ("acme", "crm", "c4", "Hanako"),
    ]  # fmt: skip
    assert town.contacts[0].at == logged().occurred_at
