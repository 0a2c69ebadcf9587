"""Door. Alembic's entry: run the migrations on the connection handed over by `migrate`."""

from churnsignal_common.postgres.alembic_env import run_env

run_env()
