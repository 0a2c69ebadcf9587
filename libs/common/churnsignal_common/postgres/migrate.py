"""Door. Bring one service's schema to its newest version, under an advisory lock, so that replicas may all try at once."""

import asyncio
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

from churnsignal_common.postgres.engine import driver_url


def _config(scripts: Path, schema: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(scripts))
    config.set_main_option("version_table_schema", schema)
    return config


def _upgrade(connection: Connection, scripts: Path, schema: str, revision: str) -> None:
    config = _config(scripts, schema)
    config.attributes["connection"] = connection
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": f"churnsignal-migrate-{schema}"})
    connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
    connection.execute(text("SET LOCAL lock_timeout = '5s'"))
    command.upgrade(config, revision)


async def migrate(url: str, scripts: Path, schema: str, revision: str = "head") -> None:
    """Run the migrations in `scripts` (an alembic folder whose env.py calls `run_env`) up to `revision`, all in one transaction."""
    engine = create_async_engine(driver_url(url), connect_args={"timeout": 5}, hide_parameters=True)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade, scripts, schema, revision)
    finally:
        await engine.dispose()


def migrate_blocking(url: str, scripts: Path, schema: str) -> None:
    """Run `migrate` from a command line."""
    asyncio.run(migrate(url, scripts, schema))
