"""Root. `python -m benchmarks.scoring.memory ACCOUNTS`: print the bytes of resident memory that each of so many accounts takes.

Every account has 20 users of whom a few come each working day of four weeks, its last scores, and what its last live evaluation came to.
"""

import gc
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from churnsignal_common.mapping.mapper import Mapper
from churnsignal_scoring.engine import AccountEngine
from churnsignal_scoring.health.days import open_zone
from churnsignal_scoring.policy import load_mapping, load_scorecard
from churnsignal_scoring.residents import Resident, Residents

from benchmarks.scoring.world import lived

WARM = 20
ACCOUNT = 2_750
"""Bytes of room for each: all must be there."""


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main() -> None:
    accounts, chance = int(sys.argv[1]), random.Random(1)
    engine = AccountEngine(Mapper(load_mapping(None)), load_scorecard(None), open_zone("UTC"))
    now = datetime.now(UTC)
    since = now.replace(hour=9) - timedelta(days=28)
    residents, before = Residents(accounts * ACCOUNT), 0
    for number in range(WARM + accounts):
        if number == WARM:
            gc.collect()
            before = resident_bytes()
        name = f"account-{number}"
        state = lived(engine, name, since, days=28, users=20, chance=chance)
        engine.settle(state, now, None, None, history=False)
        residents.put(Resident(state, number % 64, 0))
        residents.touch([name])
    gc.collect()
    assert len(residents) == WARM + accounts, "some were let go"
    print((resident_bytes() - before) // accounts)


if __name__ == "__main__":
    main()
