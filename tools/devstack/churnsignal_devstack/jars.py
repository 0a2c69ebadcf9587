"""Door. Jars, of Apache Kafka above all: fetched once from Maven, checked against the hashes in this repository at every start."""

import hashlib
import shutil
import tempfile
from pathlib import Path

from churnsignal_devstack.places import cache_dir, need_space
from churnsignal_devstack.problems import StackProblem, of_os_error

VERSION = "4.3.1"
# The `!` keeps Kafka's own versions: with log4j's dependency management the broker gets an old kafka-clients and dies.
ENDPOINT = f"org.apache.kafka:kafka_2.13:{VERSION}+org.apache.logging.log4j:log4j-slf4j-impl:2.25.4!"
PINS = Path(__file__).with_name(f"kafka-{VERSION}.sha256")
ATTEMPTS = 3
# While they are fetched there are three copies.
SPACE_MB = 300


def pinned(pins: Path = PINS) -> dict[str, str]:
    """Return the SHA-256 of each jar by its file name."""
    rows = (line.split() for line in pins.read_text().splitlines())
    return {name: digest for digest, name in rows}


def jars(endpoint: str = ENDPOINT, pins: Path = PINS) -> list[Path]:
    """Return those of the endpoint's jars that are pinned, verified, downloading them at the first call on this machine."""
    home, wanted = cache_dir() / pins.stem, pinned(pins)
    if not home.exists():
        _install(home, endpoint, wanted)
    verify(home, wanted)
    return [home / name for name in sorted(wanted)]


def verify(home: Path, pins: dict[str, str]) -> None:
    """Refuse jars that are not the ones we know."""
    for name, digest in pins.items():
        jar = home / name
        if not jar.exists() or hashlib.sha256(jar.read_bytes()).hexdigest() != digest:
            raise StackProblem(f"{jar} is not the file that {home.name}.sha256 pins: remove {home} and start again.")


def _install(home: Path, endpoint: str, wanted: dict[str, str]) -> None:
    need_space(home, SPACE_MB)
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        # Beside its final place, so that the rename is atomic and two first starts cannot mix their files.
        with tempfile.TemporaryDirectory(prefix="jars-", dir=home.parent) as scratch:
            ready = Path(scratch) / "jars"
            ready.mkdir()
            for jar in _download(Path(scratch), endpoint):
                if jar.name in wanted:
                    shutil.copyfile(jar, ready / jar.name)
            verify(ready, wanted)
            if not home.exists():
                ready.replace(home)
    except OSError as error:
        raise of_os_error(error, f"keeping {home.name} in {home.parent}") from error


def _download(scratch: Path, endpoint: str) -> list[Path]:
    # jgo is slow to import and needed once per machine.
    # ruff: noqa: PLC0415
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.env import EnvironmentBuilder, LinkStrategy
    from jgo.maven import MavenContext

    remotes = {"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories}
    context = MavenContext(repo_cache=scratch / "maven", remote_repos=remotes, timeout=30)
    builder = EnvironmentBuilder(context=context, cache_dir=scratch / "jgo", link_strategy=LinkStrategy.COPY)
    last: Exception | None = None
    for _ in range(ATTEMPTS):
        try:
            return list(builder.from_endpoint(endpoint).all_jars)
        # jgo lets every kind of error of its HTTP client and its resolver through.
        except Exception as error:  # noqa: BLE001
            last = error
    raise StackProblem(
        f"{endpoint.split(':')[1]} could not be downloaded from Maven ({type(last).__name__}): check the network and start again."
    ) from last
