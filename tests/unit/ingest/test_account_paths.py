"""Where accounts' ids may stand, as mapping.yaml says."""

from datetime import timedelta
from pathlib import Path

import pytest
from churnsignal_common.document import ConfigError
from churnsignal_common.mapping.parse import DEFAULT_PATHS
from churnsignal_ingest.check import read_account_paths
from churnsignal_ingest.validate.accounts import PathsInForce, account_paths, always
from churnsignal_ingest.validate.judge import Judge
from churnsignal_ingest.validate.limits import Limits

from tests.unit.ingest.cases import NOW, judge_batch, only, track


def test_without_a_file_or_an_entry_the_defaults_hold(tmp_path: Path) -> None:
    (tmp_path / "mapping.yaml").write_text("name: ours\n")

    assert (
        read_account_paths(None)
        == read_account_paths(tmp_path)
        == read_account_paths(tmp_path / "none")
        == always(account_paths(DEFAULT_PATHS))
    )


def test_the_file_names_paths_in_order(tmp_path: Path) -> None:
    (tmp_path / "mapping.yaml").write_text("name: ours\naccount_paths: [properties.accountId, traits.org.id]\n")

    assert read_account_paths(tmp_path).at(NOW).paths == (("properties", "accountId"), ("traits", "org", "id"))


@pytest.mark.parametrize(
    "text", ["account_paths: [user.id]", "account_paths: [traits]", "account_paths: [traits..id]", "account_paths: 5", "{"]
)
def test_a_bad_path_is_named_with_its_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "mapping.yaml").write_text(text)

    with pytest.raises(ConfigError, match=r"mapping\.yaml"):
        read_account_paths(tmp_path)


def test_a_call_is_read_by_the_mapping_in_force_when_it_came() -> None:
    older, newer = account_paths(("properties.old",)), account_paths(("properties.new",))
    call = track(properties={"old": "acme", "new": "bolt"})
    found = []
    for since in (NOW - timedelta(seconds=1), NOW, NOW + timedelta(seconds=1)):
        judge = Judge(Limits(), PathsInForce([(since, newer), (NOW - timedelta(days=9), older)]).at, 8, str)
        found.append(only(judge_batch(call, judge=judge)).account)

    assert found == ["bolt", "bolt", "acme"]
