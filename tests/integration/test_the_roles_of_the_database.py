"""One writer for each schema: the roles of deploy/postgres/roles.sql are enough for their service, and for no other's tables."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from churnsignal_devstack.postgres import installed, psql
from churnsignal_devstack.problems import StackProblem
from churnsignal_devstack.services import command, run_once

from tests.support.stack import Stack

ROLES = Path(__file__).parents[2] / "deploy" / "postgres" / "roles.sql"
SERVICES = ("ingest", "scoring", "alerts")


@pytest.fixture
def urls(stack: Stack, database_url: str) -> Iterator[dict[str, str]]:
    """The address of a database for each service, by its own role; all have made their tables."""
    passwords = [word for service in SERVICES for word in ("-v", f"{service}=of {service}")]
    made = subprocess.run(
        [str(installed() / "bin/psql"), "-qX", "-d", database_url, *passwords, "-f", str(ROLES)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    place = urlsplit(database_url)
    found = {one: place._replace(netloc=f"churnsignal_{one}:of%20{one}@{place.hostname}:{place.port}").geturl() for one in SERVICES}
    try:
        for service, url in found.items():
            run_once(command(service, "migrate"), stack.env(url, "roles."))
        yield found
    finally:
        everyone = ", ".join(f"churnsignal_{one}" for one in SERVICES)
        psql(database_url, f"DROP OWNED BY {everyone} CASCADE")
        psql(database_url, f"DROP ROLE {everyone}")


WRITES = {"ingest": "DELETE FROM ingest.sources", "scoring": "DELETE FROM scoring.accounts", "alerts": "DELETE FROM alerts.episodes"}


def test_each_service_writes_its_own_schema_and_reads_what_it_needs_of_the_others(urls: dict[str, str]) -> None:
    for service in SERVICES:
        for schema, statement in WRITES.items():
            if service == schema:
                psql(urls[service], statement)
            else:
                with pytest.raises(StackProblem, match="permission denied"):
                    psql(urls[service], statement)

    psql(urls["scoring"], "CREATE SCHEMA scoring_copy")
    assert psql(urls["ingest"], "SELECT count(*) FROM scoring.v_mappings") == "0"
    assert psql(urls["scoring"], "SELECT count(*) FROM alerts.positions") == "0"
    for service, secret in (
        ("alerts", "ingest.write_keys"),
        ("scoring", "ingest.write_keys"),
        ("ingest", "alerts.episodes"),
        ("alerts", "scoring.accounts"),
    ):
        with pytest.raises(StackProblem, match="permission denied"):
            psql(urls[service], f"SELECT count(*) FROM {secret}")
