"""routing.yaml: the shipped default is valid, and every mistake is named with its line and its fix."""

import pytest
from churnsignal_alerts.policy_file import default_text, parse_policy
from churnsignal_common.document import ConfigError

HEAD = "version: 1\ncatch_all:\n  email: team@example.com\n"


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_policy(text, "r.yaml")
    return str(caught.value).splitlines()


def test_the_shipped_default_is_valid_and_a_short_file_means_the_same() -> None:
    shipped, short = parse_policy(default_text(), "routing.yaml"), parse_policy(HEAD, "r.yaml")

    assert (shipped.rules, shipped.hours, shipped.settle, shipped.snooze) == (short.rules, short.hours, short.settle, short.snooze)


MISTAKES = [
    (
        "nobody to go to",
        "version: 1\ncatch_all:\n  locale: en\n",
        "r.yaml:2: catch_all: leaves out what it needs. Fix: give it a Slack channel",
    ),
    ("no catch-all", "version: 1\n", "r.yaml:1: (whole file): 'catch_all' is a required property. Fix: add catch_all"),
    (
        "a pool without an address",
        HEAD + "segments:\n  big:\n    slack: null\n",
        "r.yaml:5: segments.big: leaves out what it needs. Fix: give it a Slack channel",
    ),
    ("two addresses in one", HEAD.replace("team@", "a@b.c, team@"), "Fix: one e-mail address such as team@example.com"),
    ("an unknown key", HEAD + "hourz: {}\n", "unknown key 'hourz'. Fix: use one of account_url, "),
    ("hours", HEAD + "hours:\n  open: 9-18\n", "r.yaml:5: hours.open: hours are written 09:00-18:00"),
    ("a zone", HEAD + "hours:\n  open: always\n  zone: Mars/Base\n", "r.yaml:6: hours.zone: 'Mars/Base' is no IANA zone"),
    ("a zone of a pool", HEAD + "segments:\n  a:\n    slack: '#a'\n    zone: nowhere\n", "r.yaml:7: segments.a.zone"),
    ("a country", HEAD + "hours:\n  country: XX\n", "r.yaml:5: hours.country: no calendar for 'XX'"),
    ("a pool of a kind", HEAD + "kinds:\n  renewal: {pool: none}\n", "r.yaml:5: kinds.renewal: no pool 'none'"),
    ("a recovery as a line", HEAD + "kinds:\n  recovery: {digest: true}\n", "r.yaml:5: kinds.recovery"),
    ("a webhook for nobody", HEAD + "tiers:\n  tech: webhook\n", "r.yaml:5: tiers.tech: nobody has a webhook"),
    ("an hour of the digest", HEAD + "digest: {at: 9am}\n", "r.yaml:4: digest.at: '9am'"),
    ("a number", HEAD + "summary:\n  merge_from: 1\n", "r.yaml:5: summary.merge_from: 1 is less than the minimum of 2"),
    (
        "an address without its place for the account",
        HEAD + "account_url: https://crm.example.com/\n",
        "Fix: an address such as https://crm.example.com/accounts/{account}",
    ),
    ("a script as an address", HEAD + "account_url: 'javascript:alert({account})'\n", "Fix: an address such as"),
    ("no YAML", "version: [1\n", "r.yaml:2: (whole file): not YAML"),
    ("no mapping", "- 1\n", "r.yaml:1: (whole file): [1] is not of type 'object'"),
    ("nothing", "", "r.yaml:1: (whole file): None is not of type 'object'"),
]


@pytest.mark.parametrize(("text", "expected"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES])
def test_a_mistake_is_named_with_its_place_and_its_fix(text: str, expected: str) -> None:
    assert any(expected in line for line in problems(text)), problems(text)


def test_all_mistakes_are_named_at_once() -> None:
    assert len(problems(HEAD + "hours:\n  zone: Mars\n  country: XX\n  open: never\n")) == 3
