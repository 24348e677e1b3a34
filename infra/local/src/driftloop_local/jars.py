"""Kafka's jars: every one named by its exact coordinate and digest, fetched once a user, verified at every start.

jgo resolves wrong transitive versions unless all are named (an older kafka-clients beside the broker) and checks no
digest of ours: so nothing is resolved here, each named artifact is fetched alone, and counts only once its digest fits.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from driftloop_local.errors import StackRefused
from driftloop_local.home import cache_folder

KAFKA_VERSION: Final = "4.3.1"
ATTEMPTS: Final = 3
PARALLEL_DOWNLOADS: Final = 6
# An ahead-of-time cache is refused when a jar's time changed; a jar fetched again must look the same.
JAR_TIME: Final = 1_750_000_000

Fetched = Callable[[str, int], None]
"""Called with a jar's file name and its size in bytes once it is in the cache and its digest fits."""


@dataclass(frozen=True)
class Jar:
    """One pinned artifact."""

    coordinate: str
    sha256: str

    @property
    def file_name(self) -> str:
        return file_name_of(self.coordinate)


def file_name_of(coordinate: str) -> str:
    """`group:artifact:version` to `artifact-version.jar`. Raises ValueError for anything else."""
    parts = coordinate.split(":")
    if len(parts) != 3 or not all(parts):
        raise ValueError(f"a coordinate is group:artifact:version, got {coordinate!r}")
    return f"{parts[1]}-{parts[2]}.jar"


def parse_pins(coordinates: str, digests: str) -> tuple[Jar, ...]:
    """Both lists joined, in the order of the coordinates. Raises ValueError when either names what the other lacks."""
    digest_of = {name: digest for digest, name in (line.split() for line in digests.splitlines() if line.strip())}
    named = [line.strip() for line in coordinates.splitlines() if line.strip()]
    unmatched = set(digest_of) ^ {file_name_of(coordinate) for coordinate in named}
    if unmatched:
        raise ValueError(f"only one of the two lists has {sorted(unmatched)}")
    return tuple(Jar(coordinate, digest_of[file_name_of(coordinate)]) for coordinate in named)


def pinned_jars() -> tuple[Jar, ...]:
    pins = files("driftloop_local") / "pins"
    return parse_pins(
        (pins / f"coords-{KAFKA_VERSION}.txt").read_text(encoding="utf-8"),
        (pins / f"jars-{KAFKA_VERSION}.sha256").read_text(encoding="utf-8"),
    )


def jar_folder() -> Path:
    return cache_folder() / f"kafka-{KAFKA_VERSION}"


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_intact(jar: Jar, folder: Path) -> bool:
    path = folder / jar.file_name
    return path.is_file() and sha256_of(path) == jar.sha256


def broken_jars(folder: Path) -> list[Jar]:
    """The pinned jars that are absent from the folder or whose bytes are not the pinned ones."""
    return [jar for jar in pinned_jars() if not is_intact(jar, folder)]


def class_path(folder: Path) -> str:
    """The pinned jars and nothing else that may lie in the folder, always in the same order."""
    return os.pathsep.join(str(folder / jar.file_name) for jar in pinned_jars())


def ensure_jars(folder: Path, watch: Callable[[int], AbstractContextManager[Fetched]]) -> None:
    """Afterwards every pinned jar lies in the folder with the pinned bytes.

    watch: told how many must be fetched (only when there are any); gives the function that hears of each.
    Raises StackRefused when one cannot be had.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        wanting = broken_jars(folder)
        if not wanting:
            return
        with watch(len(wanting)) as fetched, ThreadPoolExecutor(PARALLEL_DOWNLOADS) as pool:
            for download in as_completed([pool.submit(fetch, jar, folder) for jar in wanting]):
                fetched(*download.result())


def fetch(jar: Jar, folder: Path) -> tuple[str, int]:
    """The jar is in the folder with the pinned bytes. Raises StackRefused after a few vain attempts."""
    reason = ""
    for _ in range(ATTEMPTS):
        with tempfile.TemporaryDirectory(prefix=".incoming-", dir=folder) as incoming:
            try:
                path = download(jar, Path(incoming))
            # RuntimeError is jgo's word for "not in the repository"; everything of the network is an OSError.
            except (OSError, RuntimeError) as error:
                reason = str(error)
                continue
            if sha256_of(path) == jar.sha256:
                return jar.file_name, install(path, folder / jar.file_name)
            reason = f"its sha256 is {sha256_of(path)}, pinned is {jar.sha256}"
    raise StackRefused(
        f"{jar.coordinate} could not be fetched: {reason}",
        "check that Maven Central can be reached from here, or set DRIFTLOOP_MAVEN to the address of a mirror, "
        "then run the command again: what is there already is kept",
    )


def download(jar: Jar, incoming: Path) -> Path:
    # Imported here: only a first start needs it, and it takes a third of a second.
    from jgo.maven import MavenContext

    mirror = os.environ.get("DRIFTLOOP_MAVEN")
    remotes = {"mirror": mirror.rstrip("/")} if mirror else None
    context = MavenContext(repo_cache=incoming, remote_repos=remotes, timeout=30)
    path = context.resolver.download(context.create_dependency(jar.coordinate).artifact)
    if path is None:
        raise RuntimeError(f"no repository has {jar.coordinate}")
    return Path(path)


def install(fresh: Path, target: Path) -> int:
    """Moved there in one step, so that no other process ever sees half of it. Returns its size in bytes."""
    os.utime(fresh, (JAR_TIME, JAR_TIME))
    if target.is_dir():
        shutil.rmtree(target)
    fresh.replace(target)
    return target.stat().st_size


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time; the others wait."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
