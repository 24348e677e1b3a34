"""The stack for tests and other programs: the same code that `up` runs, in a folder of one's own.

```python
with LocalStack(folder, only={"kafka", "postgres"}) as stack:
    database = stack.create_service_database("monitor")
    stack.kill("kafka")
    stack.wait_until_ready()
```
Everything stops when the context closes, and (on Linux) also when the thread that opened it ends: open it in the main
thread. Choose a short folder that other users may pass when running as root.
"""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import psutil

from driftloop_local.databases import ServiceDatabase, ensure_database
from driftloop_local.errors import StackRefused
from driftloop_local.home import Home
from driftloop_local.jars import Fetched
from driftloop_local.launch import LOOK_EVERY_S, launch, stop, wait_until_ready
from driftloop_local.record import PartStatus, Record, read_record
from driftloop_local.wanted import Wanted, chosen_parts

READY_WITHIN_S: Final = 120.0
GONE_WITHIN_S: Final = 30.0
Result = TypeVar("Result")


@contextmanager
def unwatched(_: int) -> Iterator[Fetched]:
    """Downloads without a progress bar."""
    yield lambda name, size_bytes: None


class LocalStack:
    """A stack in its own folder, on ports of its own."""

    def __init__(self, home: Path, only: Iterable[str] | None = None, code_path: str = "") -> None:
        """only: names of parts (`kafka`, `postgres`, or services, which bring both); everything when None."""
        self.home = Home(home.resolve())
        self._wanted = Wanted(chosen_parts(only), code_path)
        self._supervisor: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Returns when every wanted part is ready. Raises StackRefused otherwise, and nothing is left running."""
        launched = launch(self.home, self._wanted, unwatched, dies_with_caller=True)
        self._supervisor = launched.process
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stops every part and the supervisor. The data stay: `start` resumes from them."""
        stop(self.home, GONE_WITHIN_S)
        if self._supervisor is not None:
            self._supervisor.wait(GONE_WITHIN_S)

    @property
    def record(self) -> Record:
        return read_record(self.home)

    @property
    def kafka(self) -> str:
        """Where Kafka answers: `host:port`."""
        return given(self.record.kafka, "kafka")

    @property
    def postgres(self) -> str:
        """The administrator's address."""
        return given(self.record.postgres, "postgres")

    def address(self, name: str) -> str:
        """Where a part answers; of a service its `http://` address."""
        return given(self.status(name).address, name)

    def status(self, name: str) -> PartStatus:
        return given(self.record.parts.get(name), name)

    def pid(self, name: str) -> int:
        """Raises StackRefused while the part is not running."""
        return given(self.status(name).pid, name)

    def create_service_database(self, name: str) -> ServiceDatabase:
        """An empty database with its two roles, exactly as services get theirs. Safe to repeat."""
        passwords = self.home.secret(f"{name}_owner"), self.home.secret(name)
        return in_a_loop_of_its_own(ensure_database(self.postgres, name, *passwords))

    def wait_until_ready(self, within_s: float = READY_WITHIN_S) -> None:
        wait_until_ready(self.home, self._wanted, within_s, lambda record: None)

    def kill(self, name: str) -> int:
        """SIGKILL to the part: dead on return, and the supervisor is bringing it back. Returns the pid that was killed."""
        pid = self.send(name, signal.SIGKILL)
        self._until(lambda: self.status(name).pid != pid, f"the end of {name} was not noticed", GONE_WITHIN_S)
        return pid

    def restart(self, name: str, within_s: float = READY_WITHIN_S) -> None:
        """The part is stopped as `down` would, and is ready again."""
        self.hold(name)
        self.release(name, within_s)

    def hold(self, name: str, within_s: float = GONE_WITHIN_S) -> None:
        """The part is stopped and stays so until `release`: "Kafka is away"."""
        self.home.hold(name).touch()
        self._until(lambda: self.status(name).state == "held", f"{name} did not stop", within_s)

    def release(self, name: str, within_s: float = READY_WITHIN_S) -> None:
        """The part is ready again."""
        self.home.hold(name).unlink(missing_ok=True)
        self._until(lambda: self.status(name).is_up, f"{name} did not come back", within_s)

    def freeze(self, name: str) -> int:
        """SIGSTOP: the part is there and does nothing any more, until `thaw`. Returns its pid."""
        pid = self.send(name, signal.SIGSTOP)
        self._until(lambda: are_stopped(pid), f"{name} did not stop", GONE_WITHIN_S)
        return pid

    def thaw(self, name: str) -> int:
        return self.send(name, signal.SIGCONT)

    def send(self, name: str, what: signal.Signals) -> int:
        pid = self.pid(name)
        os.kill(pid, what)
        return pid

    def _until(self, is_so: Callable[[], bool], otherwise: str, within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while not is_so():
            if time.monotonic() > deadline:
                raise StackRefused(f"{otherwise} within {within_s:g} s", f"read the logs in {self.home.logs}")
            time.sleep(LOOK_EVERY_S)


def are_stopped(pid: int) -> bool:
    """Whether each thread of the process stands still: on a busy machine some go on for a while after the signal."""
    threads = Path(f"/proc/{pid}/task")
    if not threads.exists():
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    try:
        # The state follows the name, which stands in brackets and may itself hold some.
        states = {(thread / "stat").read_text().rpartition(") ")[2][0] for thread in threads.iterdir()}
    except (FileNotFoundError, ProcessLookupError):
        # A thread has just ended: not all stand still.
        return False
    return states <= {"T", "t", "Z", "X"}


def given(value: Result | None, name: str) -> Result:
    if value is None:
        raise StackRefused(f"{name} is not running here", "start it: name it in `only`, or look at `status`")
    return value


def in_a_loop_of_its_own(work: Coroutine[Any, Any, Result]) -> Result:
    """Also where a loop runs already, as in an async test."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
