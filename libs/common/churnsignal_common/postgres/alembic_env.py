"""Door. What each service's migrations/env.py calls: run inside the connection that `migrate` opened."""

from alembic import context


def run_env() -> None:
    """Run the migrations on the connection handed over by `migrate`."""
    config = context.config
    schema = config.get_main_option("version_table_schema")
    context.configure(
        connection=config.attributes["connection"], version_table_schema=schema, version_table="migration_version", transactional_ddl=True
    )
    context.run_migrations()
