"""Door. Read mapping and scorecard: a file when one is given, else the defaults that we ship."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from churnsignal_scoring.health.config.document import ConfigError
from churnsignal_scoring.health.config.parse import parse_mapping, parse_scorecard
from churnsignal_scoring.health.mapping import MappingConfig
from churnsignal_scoring.health.scorecard import Scorecard

_SHIPPED = files("churnsignal_scoring.health.config")


def load_mapping(path: Path | None) -> MappingConfig:
    """Return the mapping of `path` or the default; raises `ConfigError` with file, line and fix."""
    return parse_mapping(*_text("mapping.yaml", path), _schema("mapping.schema.json"))


def load_scorecard(path: Path | None) -> Scorecard:
    """Return the scorecard of `path` or the default; raises `ConfigError` with file, line and fix."""
    return parse_scorecard(*_text("scorecard.yaml", path), _schema("scorecard.schema.json"))


def _text(name: str, path: Path | None) -> tuple[str, str]:
    if path is None:
        return _SHIPPED.joinpath(name).read_text(), name
    try:
        return path.read_text(), str(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), 1, (), f"cannot be read: {error}", "check the path and its rights; the file must be UTF-8") from error


def _schema(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(_SHIPPED.joinpath(name).read_text())
    return schema
