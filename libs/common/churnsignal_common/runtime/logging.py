"""Root. Set up structured logs: one event name and fields a line, JSON for machines or coloured for people; no secrets, no content of events."""

import asyncio
import json
import logging
import re
import sys
import traceback
from collections.abc import Iterable
from types import TracebackType
from typing import Any

import structlog

_MASKED = "[masked]"
# What secrets look like, for those that are nobody's setting: keys and tokens of clients.
_SECRETS = r"xox[abp]-[\w-]+|cs[a-z]?_[\w-]{16,}|://[^/@\s:]+:[^/@\s]+@|Bearer\s+[^\s\"']+|Basic\s+[^\s\"']+"
_OURS = "churnsignal_"


def told(error: BaseException, said: frozenset[int] = frozenset()) -> str:
    """Return the types of an error and of its causes, and where each arose. Messages only of our own: others quote what they could not digest.

    `said` are the errors that this one was told by, as two may name each other.
    """
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    others = [before, *(error.exceptions if isinstance(error, BaseExceptionGroup) else ())]
    said |= {id(error)}
    parts = [told(one, said) for one in others if one is not None and id(one) not in said]
    kind, code = type(error), getattr(error, "sqlstate", None)
    name = f"{kind.__module__}.{kind.__qualname__}" + (f" {code}" if code else "")
    says = f": {error}" if kind.__module__.startswith(_OURS) else ""
    return "\n".join([*parts, "".join(traceback.format_tb(error.__traceback__)) + name + says])


def _told(exc_info: tuple[Any, BaseException | None, Any]) -> str:
    return "" if exc_info[1] is None else told(exc_info[1])


def _note_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    structlog.get_logger().critical("crashed", exc_info=(kind, error, trace))


def note_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what nobody awaited. The loop's own words would show arguments and messages."""
    structlog.get_logger().error("left_behind", what=re.split(r"[(<]", context["message"])[0].strip(), exc_info=context.get("exception"))


class _Mask:
    """The last step of each line: whatever came into it, and however, leaves it masked."""

    def __init__(self, secrets: Iterable[str]) -> None:
        spelled = {spelling for secret in secrets for spelling in (secret, json.dumps(secret)[1:-1])}
        self._pattern = re.compile("|".join([*map(re.escape, sorted(spelled, key=len, reverse=True)), _SECRETS]))

    def __call__(self, _logger: Any, _method: str, line: Any) -> Any:
        return self._pattern.sub(_MASKED, line)


def set_up_logging(level: str, style: str, service: str, secrets: Iterable[str] = ()) -> None:
    """Configure structlog, the standard library's loggers and the last words of a crash to write to stdout in one style, less `secrets`."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(_told),
    ]
    renderer: Any = structlog.processors.JSONRenderer() if style == "json" else structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer, _Mask(secrets)]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("aiokafka", "uvicorn.access", "httpx", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    sys.excepthook = _note_crash
    # Its complaint about a line that cannot be written would show the line.
    logging.raiseExceptions = False
