"""Root. What alembic runs: the shared environment on the connection that `migrate` opened."""

from churnsignal_common.postgres.alembic_env import run_env

run_env()
