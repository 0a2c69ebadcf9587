"""The whole way of a request, over ASGI, with a producer that keeps what it gets and keys from memory."""

import asyncio
import base64
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from churnsignal_common.contracts.envelope import Envelope, Format, envelope_decoder
from churnsignal_common.runtime.health import Dependency
from churnsignal_common.runtime.tasks import Stop
from churnsignal_ingest.api.tracking import Inside, Tracking
from churnsignal_ingest.auth.directory import Directory, Rates
from churnsignal_ingest.auth.keys import RANDOM_BYTES, make_key
from churnsignal_ingest.auth.store import LiveKey
from churnsignal_ingest.metrics import Metrics
from churnsignal_ingest.publish.coalescer import Pace
from churnsignal_ingest.validate.judge import Scope
from prometheus_client import CollectorRegistry, generate_latest

from tests.unit.ingest.cases import new_judge, track
from tests.unit.ingest.test_the_coalescer import Bench, FakeProducer
from tests.unit.ingest.test_the_directory_of_keys import HASHER, PATHS, FixedClock, MemoryStore

KEYS = {scope: make_key(scope, scope.value.ljust(RANDOM_BYTES).encode()) for scope in Scope}
RUDDER = make_key(Scope.SERVER, b"r" * RANDOM_BYTES)
SLOW = make_key(Scope.SERVER, b"s" * RANDOM_BYTES)
KEY = KEYS[Scope.SERVER]


class Answered:
    """What the client sees."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.status = status
        self.headers = {name.decode(): value.decode() for name, value in headers}
        self.json: Any = json.loads(body)


class Service:
    """Ingest without sockets, Postgres and Kafka."""

    def __init__(self) -> None:
        self.producer = FakeProducer()
        self.bench = Bench(self.producer, Pace(linger_s=0.0005, stalled_s=0.05, deadline_s=0.1))
        self.store = MemoryStore(
            *(LiveKey(i, HASHER.sign(key), scope, None, "web", "segment", 1e6, 1e6) for i, (scope, key) in enumerate(KEYS.items())),
            LiveKey(8, HASHER.sign(RUDDER), Scope.SERVER, None, "rudder", "rudder", 1e6, 1e6),
            LiveKey(9, HASHER.sign(SLOW), Scope.SERVER, None, "slow", "segment", 10, 10),
        )
        self.directory = Directory(self.store, HASHER, FixedClock(), Rates(10, 100), Dependency("postgres"), lambda: 0.0, PATHS)
        self.metrics = Metrics(CollectorRegistry())
        inside = Inside(self.bench.gate, self.directory, new_judge(), self.bench.coalescer, FixedClock(), lambda: 0.0, self.metrics)
        self.app = Tracking(inside, self.rest)
        self.rested: list[str] = []

    async def rest(self, scope: Any, _receive: Any, send: Any) -> None:
        self.rested.append(scope["path"])
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async def ask(self, path: str, body: Any = b"", *, key: str | None = KEY, method: str = "POST", **headers: str) -> Answered:
        told = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        if key is not None:
            told.append((b"authorization", b"Basic " + base64.b64encode(f"{key}:".encode())))
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        path, _, query = path.partition("?")
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": raw, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": told}
        await self.app(scope, receive, send)
        return Answered(sent[0]["status"], sent[0]["headers"], sent[1]["body"])

    @property
    def envelopes(self) -> list[Envelope]:
        return [envelope_decoder.decode(v) for topic, _, vs in self.producer.sent for v in vs if "rejected" not in topic]


@asynccontextmanager
async def serving() -> AsyncIterator[Service]:
    service = Service()
    stop = Stop()
    tasks = [asyncio.create_task(service.bench.coalescer.run()), asyncio.create_task(service.directory.run(stop))]
    try:
        yield service
    finally:
        stop.set()
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert service.bench.gate.in_hand == 0


SINGLES: dict[str, dict[str, Any]] = {
    "track": {"event": "Login"}, "identify": {"traits": {}}, "group": {"groupId": "g"}, "page": {}, "screen": {}, "alias": {"previousId": "p"},
}  # fmt: skip


@pytest.mark.asyncio
@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("kind", SINGLES)
async def test_every_path_takes_its_call_with_and_without_a_slash(kind: str, slash: str) -> None:
    async with serving() as service:
        for spelling in (kind, kind[0]):
            answer = await service.ask(f"/v1/{spelling}{slash}", {"userId": "u", **SINGLES[kind]})

            assert (answer.status, answer.json) == (200, {"success": True})
        assert [json.loads(bytes(envelope.call))["type"] for envelope in service.envelopes] == [kind, kind]


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/v1/batch", "/v1/batch/", "//v1/batch", "/v1/b", "/v1/import", "/v1/import/"])
async def test_every_batch_path_takes_a_batch(path: str) -> None:
    async with serving() as service:
        answer = await service.ask(path, {"batch": [track(), track()]})

        assert (answer.status, len(service.envelopes)) == (200, 2)


@pytest.mark.asyncio
async def test_the_key_may_come_in_the_body_alone_or_beside_an_oauth_token() -> None:
    async with serving() as service:
        body = {"batch": [track()], "writeKey": KEY}

        assert (await service.ask("/v1/batch", body, key=None)).status == 200
        assert (await service.ask("/v1/batch", body, key=None, authorization="Bearer eyJhbGciOi")).status == 200
        assert (await service.ask("/v1/batch", {"batch": []}, key=None, authorization=f"Bearer {KEY}")).status == 200


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("key", "code"), [(None, "no_write_key"), ("nonsense", "invalid_write_key"), (make_key(Scope.SERVER, b"?" * 20), "invalid_write_key")]
)
async def test_a_bad_key_is_told_in_the_words_that_sdks_read(key: str | None, code: str) -> None:
    async with serving() as service:
        answer = await service.ask("/v1/batch", {"batch": [track()]}, key=key)

        assert (answer.status, answer.json["code"], answer.json["success"]) == (401, code, False)
        assert answer.json["message"] == answer.json["error"]
        assert service.envelopes == []


@pytest.mark.asyncio
async def test_a_key_that_cannot_be_checked_is_503_with_retry_after() -> None:
    async with serving() as service:
        service.store.away = True
        answer = await service.ask("/v1/batch", {"batch": []}, key=make_key(Scope.SERVER, b"?" * 20))

        assert (answer.status, answer.json["code"]) == (503, "keys_unavailable")
        assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.asyncio
async def test_bad_events_are_named_and_the_others_are_taken() -> None:
    async with serving() as service:
        answer = await service.ask("/v1/batch", {"batch": [track(), {"type": "nope", "messageId": "m9"}, track()]})

        assert answer.status == 200
        (told,) = answer.json["rejected"]
        assert (told["index"], told["messageId"], told["code"]) == (1, "m9", "unknown_type")
        assert len(service.envelopes) == 2
        page = generate_latest(service.metrics.registry).decode()
        assert 'churnsignal_ingest_events_total{outcome="accepted",reason="",source="web"} 2.0' in page
        assert 'churnsignal_ingest_events_total{outcome="rejected",reason="unknown_type",source="web"} 1.0' in page


@pytest.mark.asyncio
async def test_gzip_and_any_content_type_are_welcome() -> None:
    async with serving() as service:
        packed = gzip.compress(json.dumps({"batch": [track()]}).encode())

        assert (
            await service.ask("/v1/batch", packed, content_encoding="gzip", content_type="application/x-www-form-urlencoded")
        ).status == 200
        assert (await service.ask("/v1/t", track(), content_type="text/plain")).status == 200


@pytest.mark.asyncio
async def test_only_rudder_keys_may_send_more_than_500_kb() -> None:
    async with serving() as service:
        batch: dict[str, Any] = {"batch": [track(pad="x" * 20_000)] * 24, "pad": ""}
        batch["pad"] = "x" * (500 * 1024 - len(json.dumps(batch)))

        assert (await service.ask("/v1/batch", batch)).status == 200
        over = {**batch, "pad": batch["pad"] + "x"}
        refused = await service.ask("/v1/batch", over)
        assert (refused.status, refused.json["code"]) == (413, "batch_too_large")
        assert (await service.ask("/v1/batch", over, key=RUDDER)).status == 200
        large = await service.ask("/v1/batch", b"{}", key=RUDDER, content_length=str(4000 * 1024 + 1))
        assert (large.status, large.json["code"]) == (413, "batch_too_large")


@pytest.mark.asyncio
async def test_a_source_over_its_rate_hears_when_to_come_back() -> None:
    async with serving() as service:
        assert (await service.ask("/v1/batch", {"batch": [track()] * 30}, key=SLOW)).status == 200
        answer = await service.ask("/v1/track", track(), key=SLOW)

        assert (answer.status, answer.json["code"]) == (429, "rate_limited")
        assert answer.headers["retry-after"] == answer.headers["x-ratelimit-reset"] == "3"


@pytest.mark.asyncio
async def test_while_kafka_is_away_requests_are_turned_away_before_their_body_is_read() -> None:
    async with serving() as service:
        service.bench.gate.kafka.down("test")
        answer = await service.ask("/v1/batch", b"not even JSON")

        assert (answer.status, answer.json["code"]) == (429, "kafka_unavailable")
        assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.asyncio
async def test_a_produce_without_an_ack_is_no_success() -> None:
    async with serving() as service:
        service.producer.ack_at_once = False
        answer = await service.ask("/v1/track", track())

        assert (answer.status, answer.json["code"]) == (429, "kafka_unavailable")
        service.producer.acks[0].set_result(object())
        await asyncio.sleep(0.01)


@pytest.mark.asyncio
async def test_a_bad_key_in_the_header_is_told_before_the_body_is_looked_at() -> None:
    async with serving() as service:
        answer = await service.ask("/v1/batch", b"not even JSON", key="nonsense")

        assert answer.json["code"] == "invalid_write_key"


@pytest.mark.asyncio
async def test_a_mistake_of_ours_is_told_in_json_and_worth_a_retry() -> None:
    async with serving() as service:
        service.producer.create_batch = None  # type: ignore[method-assign, assignment] # the mistake
        answer = await service.ask("/v1/batch", {"batch": [track()]})

        assert (answer.status, answer.json["code"], answer.json["success"]) == (500, "internal_error", False)


@pytest.mark.asyncio
async def test_library_metrics_are_dropped_without_a_key() -> None:
    async with serving() as service:
        assert (await service.ask("/v1/m", b"{}", key=None)).json == {"success": True}


@pytest.mark.asyncio
async def test_browsers_may_send_from_anywhere() -> None:
    async with serving() as service:
        preflight = await service.ask(
            "/v1/t", method="OPTIONS", key=None, origin="https://app.example", access_control_request_method="POST"
        )
        call = await service.ask("/v1/t", track(), origin="https://app.example")

        assert preflight.status == 200
        assert preflight.headers["access-control-allow-origin"] == call.headers["access-control-allow-origin"] == "https://app.example"
        assert "access-control-allow-headers" not in preflight.headers
        assert call.headers["access-control-expose-headers"] == "Retry-After, X-RateLimit-Reset"
        # Without it a browser sends no beacon that is JSON.
        assert preflight.headers["access-control-allow-credentials"] == "true"


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/v1/track", "/v1/b", "/beacon/v1/batch", "/sourceConfig/"])
async def test_a_browser_may_send_whatever_headers_its_sdk_adds(path: str) -> None:
    async with serving() as service:
        asked = "AnonymousId, SentAt, Authorization, Rsa-Retry-Attempt, X-Retry-Count"
        preflight = await service.ask(path, method="OPTIONS", key=None, origin="https://app.example", access_control_request_headers=asked)

        assert (preflight.status, preflight.headers["access-control-allow-headers"]) == (200, asked)
        assert "POST" in preflight.headers["access-control-allow-methods"]


@pytest.mark.asyncio
async def test_a_beacon_has_its_key_in_the_query_and_no_header_but_its_type() -> None:
    async with serving() as service:
        beacon = await service.ask(f"/beacon/v1/batch?writeKey={RUDDER}", {"batch": [track()]}, key=None, content_type="text/plain")
        without = await service.ask("/beacon/v1/batch", {"batch": [track()]}, key=None)

        assert (beacon.status, [e.source for e in service.envelopes]) == (200, ["rudder"])
        assert (without.status, without.json["code"]) == (401, "no_write_key")


@pytest.mark.asyncio
async def test_a_batch_may_carry_its_key_in_each_call_and_no_record_keeps_it() -> None:
    async with serving() as service:
        batch = {"batch": [{**track(), "writeKey": KEY}, {"type": "nope", "writeKey": KEY}, {**track(), "writeKey": KEY}]}

        answer = await service.ask("/v1/b", batch, key=None, content_type="text/plain")

        assert (answer.status, [told["index"] for told in answer.json["rejected"]]) == (200, [1])
        assert len(service.envelopes) == 2
        assert not [value for _, _, values in service.producer.sent for value in values if KEY.encode() in value]


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/v1/merge", "/v1/audiencelist", "/v1/nothing", "/pixel/v1/track"])
async def test_sdk_paths_that_are_not_served_say_so_in_the_words_that_sdks_read(path: str) -> None:
    async with serving() as service:
        answer = await service.ask(path, track(), origin="https://app.example")

        assert (answer.status, answer.json["code"], answer.json["success"]) == (404, "unknown_path", False)
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert service.rested == []


@pytest.mark.asyncio
async def test_tools_for_rudderstack_find_a_healthy_server() -> None:
    async with serving() as service:
        answer = await service.ask("/health", method="GET", key=None)

        assert (answer.status, answer.json["server"], service.rested) == (200, "UP", [])


@pytest.mark.asyncio
async def test_other_methods_are_refused_in_json_and_never_redirected() -> None:
    async with serving() as service:
        answer = await service.ask("/v1/track", method="GET")

        assert (answer.status, answer.json["code"], answer.headers["allow"]) == (405, "method_not_allowed", "POST, OPTIONS")


@pytest.mark.asyncio
async def test_settings_documents_send_browsers_back_to_us() -> None:
    async with serving() as service:
        browser = KEYS[Scope.BROWSER]
        segment = await service.ask(f"/v1/projects/{browser}/settings", method="GET", key=None, host="in.example")
        rudder = await service.ask(f"/sourceConfig?writeKey={browser}", method="GET", key=None)
        unknown = await service.ask("/v1/projects/x/settings", method="GET", key=None)

        assert (
            segment.json["integrations"]["Segment.io"] | {"apiKey": browser, "apiHost": "in.example/v1", "protocol": "https"}
            == segment.json["integrations"]["Segment.io"]
        )
        assert rudder.json["source"]["enabled"] is True
        assert unknown.status == 401


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("headers", "protocol"),
    [
        ({"host": "127.0.0.1:8080"}, "http"),
        ({"host": "localhost"}, "http"),
        ({"host": "in.example"}, "https"),
        ({"host": "in.example:8080", "x_forwarded_proto": "http"}, "http"),
        ({"host": "localhost:8080", "x_forwarded_proto": "https"}, "https"),
        ({"host": "in.example", "x_forwarded_proto": "gopher"}, "https"),
    ],
)
async def test_browsers_are_sent_to_tls_except_on_a_developers_machine(headers: dict[str, str], protocol: str) -> None:
    async with serving() as service:
        answer = await service.ask(f"/v1/projects/{KEYS[Scope.BROWSER]}/settings", method="GET", key=None, **headers)

        assert answer.json["integrations"]["Segment.io"]["protocol"] == protocol


@pytest.mark.asyncio
async def test_what_is_not_ours_goes_to_the_rest() -> None:
    async with serving() as service:
        await service.ask("/healthz", method="GET")

        assert service.rested == ["/healthz"]


EVENT = {
    "specversion": "1.0", "id": "e1", "source": "/shop", "type": "Order Placed", "subject": "u1", "accountid": "acme",
    "time": "2026-11-22T12:00:00Z", "data": {"total": 5},
}  # fmt: skip


@pytest.mark.asyncio
async def test_cloudevents_come_in_three_modes_and_mean_the_same() -> None:
    async with serving() as service:
        headers = {f"ce_{name}": str(value) for name, value in EVENT.items() if name != "data"} | {"ce_subject": "u%31"}

        one = await service.ask("/v1/cloudevents", EVENT, content_type="application/cloudevents+json; charset=utf-8")
        many = await service.ask("/v1/cloudevents", [EVENT], content_type="application/cloudevents-batch+json")
        binary = await service.ask("/v1/cloudevents", EVENT["data"], content_type="application/json", **headers)

        assert [one.status, many.status, binary.status] == [200, 200, 200]
        seen = {(e.id, e.account, e.user, e.format, e.occurred_at.isoformat()) for e in service.envelopes}
        assert seen == {("/shop#e1", "acme", "u1", Format.CLOUDEVENTS, "2026-11-22T12:00:00+00:00")}
        assert [json.loads(bytes(e.call))["data"] for e in service.envelopes] == [{"total": 5}] * 3


@pytest.mark.asyncio
async def test_a_cloudevent_without_its_attributes_is_refused_alone() -> None:
    async with serving() as service:
        answer = await service.ask("/v1/cloudevents", [EVENT, {**EVENT, "id": ""}, 5], content_type="application/cloudevents-batch+json")

        assert [told["code"] for told in answer.json["rejected"]] == ["bad_id", "not_an_object"]
        assert (await service.ask("/v1/cloudevents", b"{}", content_type="text/csv")).status == 415


@pytest.mark.asyncio
@pytest.mark.parametrize("attribute", ["subject", "userid", "accountid", "id", "source", "type", "time"])
@pytest.mark.parametrize("value", [{"a": 1}, [1], True])
async def test_a_cloudevent_with_an_attribute_of_another_type_is_refused_alone(attribute: str, value: Any) -> None:
    async with serving() as service:
        answer = await service.ask(
            "/v1/cloudevents", [EVENT | {attribute: value}, EVENT], content_type="application/cloudevents-batch+json"
        )

        assert (answer.status, len(answer.json["rejected"]), len(service.envelopes)) == (200, 1, 1)


@pytest.mark.asyncio
async def test_no_two_cloudevents_have_one_id_however_their_source_is_spelled() -> None:
    async with serving() as service:
        named = [("/a", "b#c"), ("/a#b", "c"), ("/a#", "b#c"), ("/a#b#", "c")]
        events = [EVENT | {"source": source, "id": identity} for source, identity in named]

        await service.ask("/v1/cloudevents", events, content_type="application/cloudevents-batch+json")

        assert len({envelope.id for envelope in service.envelopes}) == len(named)


@pytest.mark.asyncio
@pytest.mark.parametrize("data", [b'1,"accountid":"else"', b"{", b'"\xff"'])
async def test_the_data_of_a_binary_cloudevent_can_add_no_attributes(data: bytes) -> None:
    async with serving() as service:
        headers = {f"ce_{name}": str(value) for name, value in EVENT.items() if name != "data"}
        answer = await service.ask("/v1/cloudevents", data, content_type="application/json", **headers)

        assert (answer.status, answer.json["code"]) == (400, "malformed_json")
        assert service.envelopes == []
