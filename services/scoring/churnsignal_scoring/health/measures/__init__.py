"""Pure. Every measure that a scorecard can weigh. A module here adds its measures by defining them; nothing else has to know."""

from importlib import import_module
from pkgutil import iter_modules

from churnsignal_scoring.health.measures.measure import Measure


def _found() -> dict[str, Measure]:
    modules = (import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__))
    measures = [thing for module in modules for thing in vars(module).values() if isinstance(thing, Measure)]
    return {measure.name: measure for measure in sorted(measures, key=lambda measure: measure.name)}


MEASURES: dict[str, Measure] = _found()
