"""Pure. A YAML document that knows the line of each value, so that an error can say where it is and how to mend it."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

import jsonschema
import yaml

Path = tuple[str | int, ...]


class ConfigError(Exception):
    """The file says something we cannot follow: where, what, and what to write instead; and `others` behind the first mistake."""

    def __init__(self, file: str, line: int, path: Path, problem: str, fix: str) -> None:
        where = ".".join(str(part) for part in path) or "(whole file)"
        super().__init__(f"{file}:{line}: {where}: {problem}. Fix: {fix}")
        self.file, self.line, self.path, self.problem, self.fix = file, line, path, problem, fix
        self.others: tuple[ConfigError, ...] = ()

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *map(str, self.others)])


def refuse(errors: Iterable[ConfigError]) -> None:
    """Raise the first of `errors` with the others behind it, if there is one."""
    found = tuple(errors)
    if found:
        found[0].others = found[1:]
        raise found[0]


def version_of(name: str, text: str) -> str:
    """Return the name with a fingerprint of the text: two texts never share a version."""
    return f"{name}-{sha256(text.encode()).hexdigest()[:8]}"


@cache
def packaged_schema(package: str, name: str) -> dict[str, Any]:
    """Return the JSON Schema that we ship in a package."""
    schema: dict[str, Any] = json.loads(files(package).joinpath(name).read_text())
    return schema


@dataclass(frozen=True, slots=True)
class Document:
    """Plain values, and the line that each was written on."""

    file: str
    value: Any
    lines: dict[Path, int]

    def line(self, path: Path) -> int:
        """Return the line of `path`, or of the nearest thing around it that has one."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def error(self, path: Path, problem: str, fix: str) -> ConfigError:
        return ConfigError(self.file, self.line(path), path, problem, fix)


def read_document(text: str, file: str, schema: dict[str, Any]) -> Document:
    """Return the document if it is YAML that fits the schema; raises `ConfigError`."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(
            file, mark.line + 1 if mark else 1, (), f"not YAML: {said}", "mind indentation, colons and quotes on this line"
        ) from error
    lines: dict[Path, int] = {}
    value = _plain(root, (), lines, file, yaml.SafeLoader("")) if root is not None else None
    document = Document(file, value, lines)
    _check(document, schema)
    return document


def _plain(node: yaml.Node, path: Path, lines: dict[Path, int], file: str, loader: yaml.SafeLoader) -> Any:
    lines[path] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key in result:
                raise ConfigError(file, key_node.start_mark.line + 1, (*path, key), "written twice", "keep one of the two")
            result[key] = _plain(value_node, (*path, key), lines, file, loader)
            lines[(*path, key)] = key_node.start_mark.line + 1
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*path, index), lines, file, loader) for index, item in enumerate(node.value)]
    try:
        value = loader.construct_object(node)
    except ValueError:
        return str(node.value)  # such as a day that no month has: whoever reads it says what it should be
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):  # noqa: PLR0124 -- only NaN differs from itself
        raise ConfigError(file, node.start_mark.line + 1, path, "not a finite number", "write a plain number")
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(node.value)


def _check(document: Document, schema: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(schema)
    # A misspelt key is also a missing one; the misspelling is what to mend.
    found = sorted(
        validator.iter_errors(document.value),
        key=lambda error: (error.validator != "additionalProperties", document.line(tuple(error.absolute_path)), error.message),
    )
    refuse(_named(document, error) for error in found)


def _named(document: Document, error: jsonschema.ValidationError) -> ConfigError:
    path: Path = tuple(error.absolute_path)
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        allowed = sorted(error.schema.get("properties", {}))
        unknown = next(key for key in error.instance if key not in allowed)
        return document.error((*path, unknown), f"unknown key {unknown!r}", f"use one of {', '.join(allowed)}")
    return document.error(path, "leaves out what it needs" if error.validator == "anyOf" else error.message, _fix(error))


def _fix(error: jsonschema.ValidationError) -> str:
    schema = error.schema if isinstance(error.schema, dict) else {}
    match error.validator:
        case "required":
            missing = [key for key in error.validator_value if key not in error.instance]
            return f"add {', '.join(missing)}"
        case "enum":
            return f"use one of {', '.join(str(value) for value in error.validator_value)}"
        case "type":
            return f"write a value of type {error.validator_value}"
        case "minimum" | "maximum" | "exclusiveMinimum":
            return f"keep it between {schema.get('minimum', schema.get('exclusiveMinimum', '...'))} and {schema.get('maximum', '...')}"
        case "pattern":
            return str(schema.get("description", f"write what fits {error.validator_value}"))
        case _:
            return str(schema.get("description", "see the shipped default and its schema"))
