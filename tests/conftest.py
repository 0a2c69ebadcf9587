"""Root. Fixtures that every kind of test may ask for. Unit tests ask for none of them."""

import os
import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings

from tests.support.stack import Stack, open_stack

pytest_plugins = ["tests.support.skips", "tests.support.spread"]

# How long an example takes says how busy the machine is.
settings.register_profile("churnsignal", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("churnsignal")


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A Postgres and a Kafka for the whole run, which nobody may hurt."""
    with open_stack(os.environ) as opened:
        yield replace(opened, servers=None)


@pytest.fixture(scope="session")
def victims() -> Iterator[Stack]:
    """Another pair, for the modules that import `stack_to_hurt`."""
    with open_stack({}) as opened:
        yield opened


@pytest.fixture
def database_url(stack: Stack) -> Iterator[str]:
    """A fresh, empty database."""
    url = stack.create_database()
    yield url
    stack.drop_database(url)


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for topics and groups that nobody else uses."""
    return f"t{uuid.uuid4().hex[:8]}."


@pytest.fixture
def told(stack: Stack, topic_prefix: str) -> Iterator[dict[str, str]]:
    """The environment of services on a fresh database migrated for all of them, and on fresh topics."""
    url = stack.create_database("ingest", "scoring", "alerts")
    environment = stack.env(url, topic_prefix)
    stack.apply_topics(environment)
    yield environment
    stack.drop_database(url)
    stack.drop_topics(topic_prefix)
