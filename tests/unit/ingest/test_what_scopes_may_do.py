"""What each scope of write key may do: the whole table, each refusal with its code in the answer."""

import json
from typing import Any

import pytest
from churnsignal_ingest.api.replies import answer
from churnsignal_ingest.validate.batches import Sender
from churnsignal_ingest.validate.judge import Scope

from tests.unit.ingest.cases import judge_batch, only, track

OWNER: dict[str, Any] = {"type": "group", "userId": "u1", "groupId": "acme", "traits": {"owner": "thief@example.com"}}
CALLS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "use": (track(), {}),
    "a page": ({"type": "page", "userId": "u1"}, {}),
    "a screen": ({"type": "screen", "userId": "u1"}, {}),
    "traits of a user": ({"type": "identify", "userId": "u1", "traits": {"email": "u@example.com"}}, {}),
    "the owner of an account": (OWNER, {}),
    "facts of a user's company": ({"type": "identify", "userId": "u1", "traits": {"company": {"id": "acme", "plan": "free"}}}, {}),
    "a merge": ({"type": "alias", "userId": "u1", "previousId": "u2"}, {}),
    "history of one call": (track(historical=True), {}),
    "history of a batch": (track(), {"historical": True}),
}
FOR_SERVERS = {"the owner of an account", "facts of a user's company", "a merge"}
HISTORY = {"history of one call", "history of a batch"}


@pytest.mark.parametrize("scope", Scope)
@pytest.mark.parametrize("name", CALLS)
def test_a_key_may_do_what_its_scope_says_and_is_told_what_it_may_not(name: str, scope: Scope) -> None:
    call, around = CALLS[name]

    told = json.loads(answer(judge_batch(call, sender=Sender("web", scope), **around)))

    expected = None
    if name in FOR_SERVERS and scope is Scope.BROWSER:
        expected = "scope_call"
    if name in HISTORY and scope is not Scope.IMPORT:
        expected = "scope_history"
    assert [refused["code"] for refused in told.get("rejected", [])] == ([expected] if expected else [])


@pytest.mark.parametrize("scope", Scope)
def test_calls_of_a_key_that_anybody_can_read_say_so(scope: Scope) -> None:
    envelope = only(judge_batch(track(context={"groupId": "acme"}), sender=Sender("web", scope)))

    assert envelope.public is (scope is Scope.BROWSER)


def test_the_path_of_imports_makes_no_history_for_a_key_that_may_not_import() -> None:
    for scope, history in ((Scope.BROWSER, False), (Scope.SERVER, False), (Scope.IMPORT, True)):
        (record,) = judge_batch(track(context={"groupId": "acme"}), sender=Sender("web", scope), importing=True).records

        assert ("history" in record[0]) is history
