"""Door. Read a configuration file when one is given, else the default that we ship."""

from importlib.resources import files
from pathlib import Path

from churnsignal_common.document import ConfigError


def read_config(path: Path | None, package: str, name: str) -> tuple[str, str]:
    """Return the text of `path`, or of `name` in `package`, and what to call the file; raises `ConfigError`."""
    if path is None:
        return files(package).joinpath(name).read_text(), name
    try:
        return path.read_text(), str(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), 1, (), f"cannot be read: {error}", "check the path and its rights; the file must be UTF-8") from error
