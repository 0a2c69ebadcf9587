"""Root. What must hold before ingest is loaded, beside its settings: the mapping it starts with."""

from pathlib import Path

from churnsignal_common.mapping.mapper import MappingConfig
from churnsignal_common.mapping.parse import parse_mapping
from churnsignal_common.runtime.config_files import read_config

from churnsignal_ingest.settings import IngestSettings
from churnsignal_ingest.validate.accounts import PathsInForce, account_paths, always


def read_mapping(config_dir: Path | None) -> MappingConfig:
    """Return mapping.yaml of the folder, else our default; raises `ConfigError` with file, line and fix."""
    file = config_dir / "mapping.yaml" if config_dir else None
    return parse_mapping(*read_config(file if file and file.exists() else None, "churnsignal_common.mapping", "mapping.yaml"))


def read_account_paths(config_dir: Path | None) -> PathsInForce:
    """Return where accounts' ids may stand, from `account_paths` in mapping.yaml, until Postgres names the mapping in force."""
    return always(account_paths(read_mapping(config_dir).account_paths))


def check(settings: IngestSettings) -> list[str]:
    """Return what to say of good settings; raises on files that will not do."""
    read_account_paths(settings.config_dir)
    return ["ok"]
