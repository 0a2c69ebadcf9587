"""Who may call the admin and read APIs."""

import os
from pathlib import Path

from churnsignal_common.runtime.tokens import Caller, Role, Tokens, hash_token


def _file(path: Path, **roles: str) -> None:
    path.write_text("".join(f'[{name}]\nrole = "{role}"\nsha256 = "{hash_token(name + "-secret")}"\n' for name, role in roles.items()))


def test_a_known_token_gives_its_name_and_role(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    _file(path, alice="operator", bob="csm")

    assert Tokens(path).caller("alice-secret") == Caller("alice", Role.OPERATOR)


def test_an_unknown_token_is_nobody(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    _file(path, alice="operator")

    assert Tokens(path).caller("mallory-secret") is None


def test_without_a_file_nobody_may_call() -> None:
    assert Tokens(None).caller("anything") is None


def test_a_changed_file_counts_at_once(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    _file(path, alice="admin")
    tokens = Tokens(path)
    assert tokens.caller("alice-secret")

    _file(path, bob="reader")
    os.utime(path, ns=(1, 1))

    assert tokens.caller("alice-secret") is None
    assert tokens.caller("bob-secret") == Caller("bob", Role.READER)


def test_a_broken_file_keeps_the_last_good_callers(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    _file(path, alice="admin")
    tokens = Tokens(path)
    assert tokens.caller("alice-secret")

    path.write_text("not toml at all [")

    assert tokens.caller("alice-secret") == Caller("alice", Role.ADMIN)
