"""Root. The program that most teams would write: FastAPI, pydantic models, aiokafka's send(). Run: python -m benchmarks.ingest.idiomatic PORT.

Written as its advocates would: uvloop and httptools, pydantic v2's own JSON serialiser, zstd, a lingering producer that
batches, sends of a request gathered and awaited together.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Literal

import uvicorn
from aiokafka import AIOKafkaProducer
from fastapi import FastAPI
from pydantic import BaseModel, Field

TOPIC = os.environ.get("CHURNSIGNAL_TOPIC_PREFIX", "") + "usage.events.v1"


class Context(BaseModel):
    group_id: str = Field(alias="groupId")
    library: dict[str, Any] | None = None


class Track(BaseModel):
    type: Literal["track", "identify", "group", "page", "screen", "alias"] = "track"
    event: str | None = None
    message_id: str = Field(alias="messageId", max_length=255)
    user_id: str | None = Field(default=None, alias="userId", max_length=255)
    anonymous_id: str | None = Field(default=None, alias="anonymousId", max_length=255)
    timestamp: datetime
    context: Context
    properties: dict[str, Any] = {}
    integrations: dict[str, Any] = {}


class Batch(BaseModel):
    batch: list[Track] = Field(max_length=2500)
    sent_at: datetime | None = Field(default=None, alias="sentAt")


class Stored(BaseModel):
    id: str
    source: str
    account: str
    user: str | None
    occurred_at: datetime
    received_at: datetime
    call: Track


class Answer(BaseModel):
    success: bool = True


class State:
    producer: AIOKafkaProducer


state = State()


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    state.producer = AIOKafkaProducer(
        bootstrap_servers=os.environ["KAFKA_BOOTSTRAP_SERVERS"], acks="all", compression_type="zstd", linger_ms=5, max_batch_size=512 * 1024
    )
    await state.producer.start()
    yield
    await state.producer.stop()


app = FastAPI(lifespan=lifespan)


async def publish(calls: list[Track]) -> None:
    now = datetime.now(UTC)
    sends = []
    for call in calls:
        account = call.context.group_id
        stored = Stored(
            id=call.message_id, source="web", account=account, user=call.user_id, occurred_at=call.timestamp, received_at=now, call=call
        )
        sends.append(await state.producer.send(TOPIC, stored.model_dump_json(by_alias=True).encode(), key=account.encode()))
    await asyncio.gather(*sends)


@app.post("/v1/batch")
async def batch(given: Batch) -> Answer:
    await publish(given.batch)
    return Answer()


@app.post("/v1/track")
async def track(given: Track) -> Answer:
    await publish([given])
    return Answer()


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_level="warning")
