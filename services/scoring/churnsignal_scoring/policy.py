"""Door. Read mapping and scorecard: a file when one is given, else the defaults that we ship."""

from dataclasses import dataclass
from pathlib import Path

from churnsignal_common.mapping.mapper import MappingConfig
from churnsignal_common.mapping.parse import parse_mapping
from churnsignal_common.runtime.config_files import read_config

from churnsignal_scoring.health.config.parse import parse_scorecard
from churnsignal_scoring.health.scorecard import Scorecard
from churnsignal_scoring.versions import Kind

_SHIPPED = {Kind.MAPPING: "churnsignal_common.mapping", Kind.SCORECARD: "churnsignal_scoring.health.config"}


@dataclass(frozen=True, slots=True)
class Seed:
    """A file of ours (`shipped`) or of the operator (`file`): it goes into force when nothing did, or when it is new."""

    kind: Kind
    version: str
    text: str
    author: str


Parsed = MappingConfig | Scorecard


def parse(kind: Kind, text: str, file: str) -> Parsed:
    """Return what the text says; raises `ConfigError` with line and fix."""
    return parse_mapping(text, file) if kind is Kind.MAPPING else parse_scorecard(text, file)


def load_mapping(path: Path | None) -> MappingConfig:
    """Return the mapping of `path` or the default; raises `ConfigError` with file, line and fix."""
    return parse_mapping(*read_config(path, _SHIPPED[Kind.MAPPING], "mapping.yaml"))


def load_scorecard(path: Path | None) -> Scorecard:
    """Return the scorecard of `path` or the default; raises `ConfigError` with file, line and fix."""
    return parse_scorecard(*read_config(path, _SHIPPED[Kind.SCORECARD], "scorecard.yaml"))


def read_seed(kind: Kind, path: Path | None) -> Seed:
    """Return the file, or our default, as something to put into force; raises `ConfigError`."""
    text, file = read_config(path, _SHIPPED[kind], f"{kind}.yaml")
    return Seed(kind, parse(kind, text, file).version, text, "shipped" if path is None else "file")


def read_seeds(mapping: Path | None, scorecard: Path | None) -> dict[Kind, Seed]:
    """Return both."""
    return {Kind.MAPPING: read_seed(Kind.MAPPING, mapping), Kind.SCORECARD: read_seed(Kind.SCORECARD, scorecard)}
