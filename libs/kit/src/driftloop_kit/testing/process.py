"""A service as a process of its own, for tests beside a real Kafka and a real Postgres."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from driftloop_kit.testing.door import Door
from driftloop_kit.testing.places import bare_environment, free_port

T = TypeVar("T")
# A group whose member was killed may need its session's time to form again.
WITHIN_S: Final = 60.0
ENDS_WITHIN_S: Final = 20.0
LOOK_S: Final = 0.05
TAIL: Final = 4000


class ServiceProcess(Door):
    """`python -m <module> <words>`: where it runs, and its process once it was started.

    One place for all its starts: the same port is the same member of its groups, the same folder has its log and what it
    keeps. As a context manager it is started, ready or not, and gone when the block ends.
    """

    process: subprocess.Popen[bytes]

    def __init__(
        self,
        module: str,
        kafka: str,
        folder: Path,
        database_url: str | None = None,
        *,
        port: int | None = None,
        words: Sequence[str] = (),
        **settings: str,
    ) -> None:
        self.module, self.words = module, words
        self.kafka, self.folder, self.database_url = kafka, folder, database_url
        self.port = port or free_port()
        super().__init__(f"http://127.0.0.1:{self.port}")
        self.artifacts, self.history = [(folder / name).as_uri() for name in ("artifacts", "history")]
        self.data = folder / f"{module}-data"
        self.log = folder / f"{'-'.join([module, *words])}.log"
        self._settings = settings

    def environment(self) -> dict[str, str]:
        """All of its variables; what was given by name wins."""
        name = self.module.upper()
        database = {} if self.database_url is None else {f"{name}_DATABASE_URL": self.database_url}
        places = {
            "DRIFTLOOP_KAFKA": self.kafka,
            "DRIFTLOOP_ARTIFACTS": self.artifacts,
            "DRIFTLOOP_HISTORY": self.history,
            "DRIFTLOOP_DATA": str(self.data),
            f"{name}_HTTP_PORT": str(self.port),
        }
        return bare_environment() | places | database | self._settings

    def start(self) -> None:
        """It runs; `until_ready` says when it answers."""
        command = [sys.executable, "-m", self.module, *self.words]
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(command, env=self.environment(), stdout=out, stderr=out, cwd=self.folder)

    def again(self) -> None:
        """Another process at the same place, as a supervisor starts it; ready."""
        self.start()
        self.until_ready()

    def run_with(self, **settings: str) -> None:
        """The next start is told this, too; what is named again is replaced."""
        self._settings = {**self._settings, **settings}

    def stop(self, within_s: float = ENDS_WITHIN_S) -> int:
        """Asks it to end, and waits; its exit code. Raises TimeoutExpired when it does not end in time."""
        self.process.terminate()
        return self.process.wait(within_s)

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self.stop()
        finally:
            self.kill()

    def until(self, look: Callable[[], T | None], what: str, within_s: float = WITHIN_S) -> T:
        """What it sees, once it sees something.

        Raises AssertionError with the end of the log when nothing is seen in time, and at once when the process has ended.
        """
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if seen := look():
                return seen
            ended = self.process.poll()
            assert ended is None, f"{self.module} has ended with {ended}, and is not {what}:\n{self.log_tail()}"
            time.sleep(LOOK_S)
        raise AssertionError(f"{self.module} is not {what} within {within_s:g} s:\n{self.log_tail()}")

    def until_page(self, path: str, holds: Callable[[Any], object], within_s: float = WITHIN_S) -> Any:
        """The page for which this holds. Raises AssertionError, with the last one, as `until` does."""
        said: Any = None

        def look() -> bool:
            nonlocal said
            said = self.page(path)
            return said is not None and bool(holds(said))

        try:
            self.until(look, f"saying at {path} what it should", within_s)
        except AssertionError as error:
            error.add_note(f"it said {said!r}")
            raise
        return said

    def until_ready(self) -> dict[str, Any]:
        """What it says of itself once it is ready."""
        return dict(self.until_page("/ready", lambda said: said["ready"]))

    async def eventually(self, path: str, holds: Callable[[Any], object], within_s: float = WITHIN_S) -> Any:
        """`until_page`, for tests whose own loop must go on meanwhile."""
        return await asyncio.to_thread(self.until_page, path, holds, within_s)

    def log_tail(self) -> str:
        """The last that it said on its output."""
        return self.log.read_text()[-TAIL:]


@contextmanager
def running(
    module: str, kafka: str, folder: Path, database_url: str | None = None, *, port: int | None = None, **settings: str
) -> Iterator[ServiceProcess]:
    """The service, ready; gone when the block ends."""
    with ServiceProcess(module, kafka, folder, database_url, port=port, **settings) as service:
        service.until_ready()
        yield service
