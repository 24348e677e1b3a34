"""Work that goes on in threads while a block runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import ClassVar, Self


class Meanwhile:
    """What `works` names goes on, each in a thread of its own, from the beginning of the block until `over` is set at its end."""

    ends_within_s: ClassVar[float] = 120.0
    over: threading.Event

    def works(self) -> Iterable[Callable[[], None]]:
        """Each returns soon after `over` is set."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.over = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(work,)) for work in self.works()]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Every one has ended. Raises AssertionError where one has not in time, or by an error."""
        self.over.set()
        for thread in self._threads:
            thread.join(self.ends_within_s)
        assert not any(thread.is_alive() for thread in self._threads), f"not ended within {self.ends_within_s:g} s"
        assert not self._errors, self._errors

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # raised where the block ends
            self._errors.append(error)
