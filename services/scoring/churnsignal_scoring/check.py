"""Root. What must hold before scoring is loaded, beside its settings: the mapping and scorecard it starts with."""

from churnsignal_scoring.policy import load_mapping, load_scorecard
from churnsignal_scoring.settings import ScoringSettings


def check(settings: ScoringSettings) -> list[str]:
    """Return what to say of good settings; raises on files that will not do."""
    mapping, card = load_mapping(settings.mapping), load_scorecard(settings.scorecard)
    return [f"ok: mapping {mapping.version}, scorecard {card.version}, days of {settings.day_zone}"]
