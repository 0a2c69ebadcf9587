"""Where accounts' ids may stand, as mapping.yaml says."""

from pathlib import Path

import pytest
from churnsignal_common.mapping.parse import DEFAULT_PATHS
from churnsignal_ingest.app import read_account_paths
from churnsignal_ingest.validate.accounts import account_paths


def test_without_a_file_or_an_entry_the_defaults_hold(tmp_path: Path) -> None:
    (tmp_path / "mapping.yaml").write_text("name: ours\n")

    assert read_account_paths(None) == read_account_paths(tmp_path) == read_account_paths(tmp_path / "none") == account_paths(DEFAULT_PATHS)


def test_the_file_names_paths_in_order(tmp_path: Path) -> None:
    (tmp_path / "mapping.yaml").write_text("name: ours\naccount_paths: [properties.accountId, traits.org.id]\n")

    assert read_account_paths(tmp_path).paths == (("properties", "accountId"), ("traits", "org", "id"))


@pytest.mark.parametrize(
    "text", ["account_paths: [user.id]", "account_paths: [traits]", "account_paths: [traits..id]", "account_paths: 5", "{"]
)
def test_a_bad_path_stops_the_start_and_is_named(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mapping.yaml").write_text(text)

    with pytest.raises(SystemExit) as stop:
        read_account_paths(tmp_path)

    assert stop.value.code == 2
    assert "mapping.yaml" in capsys.readouterr().err
