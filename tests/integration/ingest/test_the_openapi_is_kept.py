"""What the OpenAPI document promises, asked of the running service with generated requests, good and bad."""

import base64
import os
from pathlib import Path
from typing import Any

import schemathesis
from churnsignal_common.runtime.tokens import hash_token
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import APIOperation, Case
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.result import Ok

from tests.support.load import create_key
from tests.support.stack import service

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "15"))
TOKEN = "operator-token-for-tests"
load_all_checks()
# FastAPI does not list the refusals of its own paths; there, only a mistake of ours is wrong.
BROKEN: Any = CHECKS.get_by_names(["not_a_server_error"])
KEPT: Any = CHECKS.get_by_names(
    ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance"]
)


def fuzz(operation: APIOperation[Any, Any, Any, Any], url: str, authorization: str, kept: bool) -> None:
    """Ask one operation with generated requests and hold each answer against the document."""

    @settings(max_examples=EXAMPLES, database=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
    @given(operation.as_strategy())
    def ask(case: Case[Any]) -> None:
        case.call_and_validate(base_url=url, headers={"Authorization": authorization}, checks=KEPT if kept else BROKEN, timeout=20)

    ask()


def test_every_answer_is_one_that_the_document_lists(told: dict[str, str], tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(f'[op]\nrole = "operator"\nsha256 = "{hash_token(TOKEN)}"\n')
    basic = "Basic " + base64.b64encode(f"{create_key(told)}:".encode()).decode()
    with service("ingest", told | {"CHURNSIGNAL_TOKENS_FILE": str(tokens)}, tmp_path) as ingest:
        asked = []
        for found in schemathesis.openapi.from_url(f"{ingest.url}/openapi.json").get_all_operations():
            assert isinstance(found, Ok), found
            operation = found.ok()
            by_sdk = operation.path.startswith("/v1/")
            fuzz(operation, ingest.url, basic if by_sdk else f"Bearer {TOKEN}", by_sdk)
            asked.append(operation.path)

        assert len(asked) > 12
        assert ingest.is_alive()
