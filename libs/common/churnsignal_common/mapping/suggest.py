"""Pure. For an event that no rule names: a rule to paste into mapping.yaml, and to correct if the guess is wrong."""

import re
from typing import Final

import yaml

# The first that fits; what fits none is the use of a feature of that name, which is how it counts without a rule, too.
_GUESSES: Final[tuple[tuple[str, str, bool], ...]] = (
    (r"(payment|charge|invoice|card).*(fail|declin|past.?due)", "payment_failed", False),
    (r"(payment|charge|invoice).*(succe|paid|receiv)", "payment_succeeded", False),
    (r"(subscription|plan|account).*cancel|cancel.*(subscription|plan|account)", "subscription_cancelled", False),
    (r"ticket|conversation|support", "ticket_opened", False),
    (r"\bnps\b", "nps_answered", False),
    (r"\b(log|sign)(ged|ed)?[ .-]?in\b|session.?start", "login", True),
    (r"sign.?(ed.?)?up|register|trial.?start", "signup", False),
    (r"error|exception|crash|fail|timed.?out", "error", True),
    (r"health.?check|heartbeat|ping|cron|synthetic", "", False),
)


def suggested_rule(name: str) -> str:
    """Return the lines of YAML for the event `name`."""
    for pattern, signal, active in _GUESSES:
        if re.search(pattern, name.casefold().replace("_", " ")):
            if not signal:
                return _yaml({"ignore": {"events": [name]}})
            return _yaml([{"signal": signal, **({} if active else {"active": False}), "events": [name]}])
    return _yaml([{"signal": f"feature_used:{re.sub('[@]', '', name)[:64]}", "events": [name]}])


def _yaml(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)
