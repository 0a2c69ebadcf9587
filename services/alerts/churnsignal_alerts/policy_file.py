"""Pure. Read routing.yaml into a Policy, or say what is wrong with file, line, path and fix."""

from collections.abc import Iterator, Mapping
from datetime import time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from churnsignal_common.catalog.locales import Locale
from churnsignal_common.contracts.days import is_zone
from churnsignal_common.document import ConfigError, Document, Path, packaged_schema, read_document, refuse
from churnsignal_common.runtime.config_files import read_config

from churnsignal_alerts.decide import Rules
from churnsignal_alerts.episodes import WATCHDOG, Kind
from churnsignal_alerts.hours import DAYS, Hours, is_country, parse_hours
from churnsignal_alerts.policy import Digest, FollowUp, Play, Playbook, Policy, Pool, Rung, Target, Touch, Urgent

PACKAGE = "churnsignal_alerts.config"
FILE = "routing.yaml"


def default_text() -> str:
    """Return the shipped routing.yaml."""
    return read_config(None, PACKAGE, FILE)[0]


def parse_policy(text: str, file: str) -> Policy:
    """Return the policy; raises `ConfigError` with every mistake found."""
    document = read_document(text, file, packaged_schema(PACKAGE, "routing.schema.json"))
    refuse([*_names(document), *_places(document)])
    return _policy(document.value)


def _places(document: Document) -> Iterator[ConfigError]:
    data = document.value
    places: list[tuple[Path, dict[str, Any]]] = [((name,), data.get(name) or {}) for name in ("hours", "catch_all", "operator")]
    places += [((part, name), pool) for part in ("segments", "pools") for name, pool in (data.get(part) or {}).items()]
    for path, place in places:
        try:
            parse_hours(place.get("open") or "09:00-18:00", place.get("days") or "mon-fri")
        except ValueError as error:
            yield document.error(
                (*path, "open" if "open" in place else "days"),
                str(error),
                "write `always`, or hours and days such as 09:00-18:00 and mon-fri",
            )
        if place.get("zone") and not is_zone(place["zone"]):
            yield document.error((*path, "zone"), f"{place['zone']!r} is no IANA zone", "write one such as Asia/Tokyo")
        if place.get("country") and not is_country(place["country"]):
            yield document.error((*path, "country"), f"no calendar for {place['country']!r}", "use an ISO 3166 code such as JP")


def _names(document: Document) -> Iterator[ConfigError]:
    data = document.value
    segments, pools = data.get("segments") or {}, data.get("pools") or {}
    for name in pools.keys() & segments.keys():
        yield document.error(("pools", name), "a segment has this name already", "choose another")
    for kind, to in (data.get("kinds") or {}).items():
        if (name := _pool_of(to)) and name not in segments and name not in pools:
            yield document.error(("kinds", kind), f"no pool {name!r}", "add it below `pools`")
    hooks = [pool for pool in (data["catch_all"], *segments.values()) if pool.get("webhook")]
    for tier, how in (data.get("tiers") or {}).items():
        if how == Touch.WEBHOOK and not hooks:
            yield document.error(("tiers", tier), "nobody has a webhook", "give one to catch_all or to a segment")


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
