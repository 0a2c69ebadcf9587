"""What a message says of an account whose source has fallen silent."""

from dataclasses import replace
from datetime import timedelta

import pytest
from churnsignal_alerts.episodes import NoticeKind
from churnsignal_alerts.render.card import card
from churnsignal_common.contracts.risk import SilentSource

from tests.support.alerts import NOON, READERS, change, opened


@pytest.mark.parametrize(("language", "said"), [("en", "No data from mobile since"), ("ja", "mobile からのデータが")])
def test_a_message_says_which_silent_source_holds_the_score_still(language: str, said: str) -> None:
    frozen = replace(opened(), change=change(profile_silent_sources=(SilentSource("mobile", NOON),)))

    assert card(NoticeKind.RISK, frozen, READERS[language], NOON + timedelta(minutes=2)).notes[-1].startswith(said)
