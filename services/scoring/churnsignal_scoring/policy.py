"""Door. Read mapping and scorecard: a file when one is given, else the defaults that we ship."""

from pathlib import Path

from churnsignal_common.mapping.mapper import MappingConfig
from churnsignal_common.mapping.parse import parse_mapping
from churnsignal_common.runtime.config_files import read_config

from churnsignal_scoring.health.config.parse import parse_scorecard
from churnsignal_scoring.health.scorecard import Scorecard


def load_mapping(path: Path | None) -> MappingConfig:
    """Return the mapping of `path` or the default; raises `ConfigError` with file, line and fix."""
    return parse_mapping(*read_config(path, "churnsignal_common.mapping", "mapping.yaml"))


def load_scorecard(path: Path | None) -> Scorecard:
    """Return the scorecard of `path` or the default; raises `ConfigError` with file, line and fix."""
    return parse_scorecard(*read_config(path, "churnsignal_scoring.health.config", "scorecard.yaml"))
