"""Pure. Read routing.yaml into a Policy, or say what is wrong with file, line, path and fix."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import time, timedelta
from functools import cache
from importlib import resources
from typing import Any
from zoneinfo import ZoneInfo

import jsonschema
import yaml
from churnsignal_common.catalog.locales import Locale

from churnsignal_alerts.decide import Rules
from churnsignal_alerts.episodes import WATCHDOG, Kind
from churnsignal_alerts.hours import DAYS, Hours, is_country, parse_hours
from churnsignal_alerts.policy import Digest, FollowUp, Play, Playbook, Policy, Pool, Rung, Target, Touch, Urgent

_PACKAGE = "churnsignal_alerts.config"


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in the file: where it is and what to do."""

    file: str
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.path or '(file)'}: {self.message}"


class BadPolicy(ValueError):
    """The file cannot be used; `problems` say why."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@cache
def default_text() -> str:
    """Return the shipped routing.yaml."""
    return resources.files(_PACKAGE).joinpath("routing.yaml").read_text()


@cache
def _schema() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(resources.files(_PACKAGE).joinpath("routing.schema.json").read_text())
    return loaded


def parse_policy(text: str, file: str) -> Policy:
    """Return the policy; raises BadPolicy with every problem found."""
    try:
        root = yaml.compose(text, yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise BadPolicy(
            [Problem(file, (mark.line + 1) if mark else 1, "", f"not YAML: {getattr(error, 'problem', error)}; check the indent")]
        ) from error
    found = _Reader(file, root).check(data)
    if found:
        raise BadPolicy(found)
    return _policy(data)


@dataclass(slots=True)
class _Reader:
    file: str
    root: yaml.Node | None

    def check(self, data: Any) -> list[Problem]:
        validator = jsonschema.Draft202012Validator(_schema())
        problems = [self.at(list(e.absolute_path), _advice(e)) for e in validator.iter_errors(data)]
        if not problems:
            problems = self._hours(data)
        return sorted(problems, key=lambda problem: problem.line)

    def _hours(self, data: dict[str, Any]) -> list[Problem]:
        places = [(["hours"], data.get("hours") or {}), (["catch_all"], data["catch_all"]), (["operator"], data.get("operator") or {})]
        places += [([part, name], pool) for part in ("segments", "pools") for name, pool in (data.get(part) or {}).items()]
        problems = self._names(data)
        for path, place in places:
            for key, complaint in _wrong(place):
                problems.append(self.at([*path, key], complaint))
        return problems

    def _names(self, data: dict[str, Any]) -> list[Problem]:
        segments, pools = data.get("segments") or {}, data.get("pools") or {}
        problems = [self.at(["pools", name], "a segment has this name already; choose another") for name in pools if name in segments]
        for kind, to in (data.get("kinds") or {}).items():
            if (name := _pool_of(to)) and name not in segments and name not in pools:
                problems.append(self.at(["kinds", kind], f"no pool {name!r}; add it below `pools`"))
        hooks = [pool for pool in (data["catch_all"], *segments.values()) if pool.get("webhook")]
        for tier, how in (data.get("tiers") or {}).items():
            if how == Touch.WEBHOOK and not hooks:
                problems.append(self.at(["tiers", tier], "nobody has a webhook; give one to catch_all or to a segment"))
        return problems

    def at(self, path: list[Any], message: str) -> Problem:
        return Problem(self.file, _line(self.root, path), ".".join(str(part) for part in path), message)


def _advice(error: jsonschema.ValidationError) -> str:
    if error.validator == "anyOf":
        return "needs a Slack channel (slack), an e-mail address (email) or a webhook: otherwise an alert could have nobody to go to"
    if error.validator == "additionalProperties":
        return f"{error.message}; known here: {', '.join(error.schema.get('properties', {}))}"
    if error.validator == "pattern" and list(error.absolute_path) == ["account_url"]:
        return f"{error.instance!r} is no address such as https://crm.example.com/accounts/{{account}}"
    if error.validator == "pattern":
        return f"{error.instance!r} is not one e-mail address such as team@example.com"
    if error.validator == "required":
        return f"{error.message}; add it (the shipped default shows how)"
    return str(error.message)


def _wrong(place: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = []
    try:
        parse_hours(place.get("open") or "09:00-18:00", place.get("days") or "mon-fri")
    except ValueError as error:
        found.append(("open" if "open" in place else "days", str(error)))
    if place.get("zone") and not is_zone(place["zone"]):
        found.append(("zone", f"{place['zone']!r} is no IANA zone such as Asia/Tokyo"))
    if place.get("country") and not is_country(place["country"]):
        found.append(("country", f"no calendar for {place['country']!r}; use an ISO 3166 code such as JP"))
    return found


def is_zone(name: str) -> bool:
    """Return whether `name` is an IANA time zone."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def _line(node: yaml.Node | None, path: list[Any]) -> int:
    """Return the line of the deepest part of `path` that exists."""
    line = (node.start_mark.line + 1) if node else 1
    for part in path:
        if isinstance(node, yaml.MappingNode):
            hit = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if hit is None:
                return line
            line, node = hit[0].start_mark.line + 1, hit[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def _policy(data: Mapping[str, Any]) -> Policy:
    hours, urgent = data.get("hours") or {}, data.get("urgent") or {}
    flapping, summary = data.get("flapping") or {}, data.get("summary") or {}
    watchdog = data.get("watchdog") or {}
    kinds = {"risk": True, _RECOVERY: True} | (data.get("kinds") or {})
    recoveries = kinds.pop(_RECOVERY)
    digest = data.get("digest") or {}
    # The watchdog's pool is open at any hour, and no customer's segment has its name.
    dog = {WATCHDOG: {"open": "always", **watchdog}} if watchdog else {}
    pools = (data.get("segments") or {}) | (data.get("pools") or {}) | dog
    return Policy(
        catch_all=_pool("catch-all", data["catch_all"]),
        pools={name: _pool(name, pool) for name, pool in pools.items()},
        hours=_hours(hours) or parse_hours("09:00-18:00", "mon-fri"),
        zone=ZoneInfo(hours.get("zone") or "UTC"),
        country=hours.get("country"),
        urgent=Urgent(urgent.get("arr"), urgent.get("renewal_days"), frozenset(urgent.get("reasons") or ())),
        rules=Rules(
            kinds=frozenset(Kind(name) for name, on in kinds.items() if on),
            flap_window=timedelta(days=flapping.get("window_days", 14)),
            flap_limit=flapping.get("limit", 3),
            stale_after=timedelta(hours=summary.get("stale_hours", 48)),
        ),
        settle=timedelta(minutes=summary.get("settle_minutes", 10)),
        merge_from=summary.get("merge_from", 3),
        snooze=timedelta(hours=data.get("snooze_hours", 24)),
        worse_snooze=timedelta(days=data.get("snooze_worse_days", 14)),
        follow_up=_follow_up(data.get("follow_up") or {}),
        kind_pools={Kind(name): pool for name, to in kinds.items() if (pool := _pool_of(to))},
        digest=Digest(
            time.fromisoformat(digest["at"]) if digest.get("at") else None,
            DAYS.index(digest["weekly"]) if "weekly" in digest else None,
        ),
        digest_kinds=frozenset(Kind(name) for name, to in kinds.items() if isinstance(to, dict) and to.get("digest")),
        budget=data.get("budget", 10),
        recoveries=_pool_of(recoveries) or bool(recoveries),
        tiers={name.casefold(): Touch(how) for name, how in (data.get("tiers") or {}).items()},
        playbooks=tuple(_playbook(one) for one in data.get("playbooks") or ()),
        link_valid=timedelta(days=data.get("link_days", 14)),
        account_url=data.get("account_url"),
        watchdog_every=timedelta(minutes=watchdog.get("every_minutes", 60)),
        operator=_pool("operator", data["operator"]) if data.get("operator") else None,
    )


_RECOVERY = "recovery"


def _pool_of(to: bool | dict[str, Any]) -> str | None:
    return to.get("pool") if isinstance(to, dict) else None


_STEPS: tuple[dict[str, Any], ...] = (
    {"to": "owner", "after_hours": 9},
    {"to": "manager", "after_hours": 9},
    {"to": "pool", "after_hours": 18},
)


def _follow_up(data: Mapping[str, Any]) -> FollowUp:
    rungs = (Rung(Target(step["to"]), timedelta(hours=step["after_hours"])) for step in data.get("steps", _STEPS))
    quiet = data.get("unacknowledge_hours", 45)
    return FollowUp(tuple(rungs), timedelta(hours=quiet) if quiet else None)


def _playbook(data: Mapping[str, Any]) -> Playbook:
    plays = tuple(Play(_texts(step["do"]), step["within_days"]) for step in data["steps"])
    return Playbook(Kind(data["kind"]), data.get("segment"), plays)


def _texts(written: str | dict[str, str]) -> dict[str, str]:
    return written if isinstance(written, dict) else {locale.value: written for locale in Locale}


def _pool(name: str, data: Mapping[str, Any]) -> Pool:
    zone = data.get("zone")
    return Pool(
        name,
        data.get("slack"),
        data.get("email"),
        Locale(data.get("locale", "en")),
        ZoneInfo(zone) if zone else None,
        data.get("country"),
        _hours(data),
        data.get("webhook"),
    )


def _hours(data: Mapping[str, Any]) -> Hours | None:
    if "open" not in data and "days" not in data:
        return None
    return parse_hours(data.get("open") or "09:00-18:00", data.get("days") or "mon-fri")
