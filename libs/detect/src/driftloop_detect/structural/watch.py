"""The structural watch of one stream: rows in, findings out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from driftloop_detect.errors import SnapshotRejected
from driftloop_detect.frame import pack, unpack
from driftloop_detect.spec import FloatArray, IntArray
from driftloop_detect.structural.checks import Check, Checks
from driftloop_detect.structural.columns import Columns, Rows, arranged
from driftloop_detect.structural.reference import Reference
from driftloop_detect.structural.tally import BEAT_ROWS, Tally, counted, next_beat

ADVICE: Final = "fix_pipeline"


@dataclass(frozen=True, slots=True)
class Finding:
    """A check that has just begun to fail, or has stopped failing."""

    check: Check
    state: Literal["opened", "cleared"]
    row: int
    """The row of this call that completed the beat on which it was seen."""
    observed: float
    limit: float
    expected: float
    """What the training rows had."""
    advice: str = ADVICE

    @property
    def reason(self) -> str:
        where = f" in {self.check.segment}" if self.check.segment else ""
        figures = f"{self.observed:.4g}; allowed {self.limit:.4g}, in training {self.expected:.4g}"
        return f"{self.check.name}{where}: {self.check.compared} {figures}"


@dataclass(frozen=True, slots=True)
class StructuralState:
    """A watch at rest. Stepped, never changed."""

    tally: Tally
    streaks: IntArray
    """shape (segments, numbers): beats in a row with a contrast beyond its room."""
    failed: NDArray[np.bool_]
    """shape (checks,): in this block."""
    open: NDArray[np.bool_]
    """shape (checks,): opened and not cleared."""


@dataclass(frozen=True, slots=True)
class StructuralWatch:
    """The checks of one version's features against its training rows. Its state is stepped and lies with the caller."""

    reference: Reference
    max_age_us: Mapping[str, int] = field(default_factory=dict)
    """Views whose rows have an age, and the age beyond which they are stale."""
    checks: Checks = field(init=False)
    _low: FloatArray = field(init=False)
    _high: FloatArray = field(init=False)
    # Made once: it goes over the whole reference, and each slice of the log asks for it twice.
    _digest: bytes = field(init=False)

    def __post_init__(self) -> None:
        numbers = self.reference.numbers.values()
        object.__setattr__(self, "checks", Checks.of(self.reference, tuple(self.max_age_us)))
        object.__setattr__(self, "_low", np.array([number.low for number in numbers]))
        object.__setattr__(self, "_high", np.array([number.high for number in numbers]))
        object.__setattr__(self, "_digest", self.reference.digest)

    def start(self) -> StructuralState:
        """Nothing seen, nothing open."""
        tally = Tally.empty(self.reference.layout, len(self.max_age_us))
        none = np.zeros(len(self.checks.checks), bool)
        return StructuralState(tally, np.zeros_like(tally.runs), none, none)

    def step(
        self,
        state: StructuralState,
        columns: Columns,
        times_us: IntArray,
        segment: NDArray[Any] | None = None,
        feature_times_us: Mapping[str, IntArray] | None = None,
    ) -> tuple[StructuralState, list[Finding]]:
        """The rows have been counted in their order; at each full 100th row of the stream the checks were made.

        columns: name to shape (n,), as in `Reference.of`; times_us: shape (n,), when each row was asked for.
        feature_times_us: per view the time of the row that was used, 0 for none. However the stream is cut into calls,
        the same findings follow. A check that fails opens once, and is cleared by a whole block without failing.
        """
        rows = self._rows(columns, times_us, segment, feature_times_us or {})
        findings: list[Finding] = []
        start = 0
        while start < len(rows):
            end = min(len(rows), start + BEAT_ROWS - int(state.tally.rows[0]) % BEAT_ROWS)
            tally = counted(state.tally, rows[start:end], self._low, self._high, self.checks.starts)
            state, found = self._checked(state, tally, end - 1)
            findings += found
            start = end
        return state, findings

    def to_bytes(self, state: StructuralState) -> bytes:
        """All of the state, in the frame of snapshots."""
        flags = {"failed": state.failed.astype(np.uint8), "open": state.open.astype(np.uint8)}
        return pack(self._digest, {**state.tally.arrays(), "streaks": state.streaks.ravel(), **flags})

    def from_bytes(self, blob: bytes) -> StructuralState:
        """Raises SnapshotRejected for damaged bytes, or those of another reference or other views."""
        arrays, empty = unpack(self._digest, blob), self.start()
        try:
            tally = empty.tally.filled(arrays)
            streaks: IntArray = arrays["streaks"].astype(np.int64).reshape(empty.streaks.shape)
            failed, opened = (arrays[name].astype(bool).reshape(empty.open.shape) for name in ("failed", "open"))
        except (KeyError, ValueError) as error:
            raise SnapshotRejected(f"its arrays are not those of this watch ({error})") from error
        return StructuralState(tally, streaks, failed, opened)

    def _rows(
        self,
        columns: Columns,
        times_us: IntArray,
        segment: NDArray[Any] | None,
        feature_times_us: Mapping[str, IntArray],
    ) -> Rows:
        n = len(times_us)
        old = np.zeros((n, len(self.max_age_us)), bool)
        for at, (view, max_age_us) in enumerate(self.max_age_us.items()):
            old[:, at] = times_us - feature_times_us.get(view, np.zeros(n, np.int64)) > max_age_us
        return arranged(self.reference.layout, columns, n, segment, old)

    def _checked(self, state: StructuralState, tally: Tally, row: int) -> tuple[StructuralState, list[Finding]]:
        """The checks were made, if the tally is at the end of a beat."""
        if tally.rows[0] % BEAT_ROWS:
            return StructuralState(tally, state.streaks, state.failed, state.open), []
        now = self.checks.measured(tally, state.streaks)
        failed = state.failed | now.failing
        opened, cleared = now.failing & ~state.open, np.zeros_like(state.open)
        if tally.rows_in_block == 0:
            cleared, failed = state.open & ~failed, np.zeros_like(failed)
        findings = [
            *(self._finding(i, "opened", row, now.observed) for i in np.flatnonzero(opened)),
            *(self._finding(i, "cleared", row, now.observed) for i in np.flatnonzero(cleared)),
        ]
        still_open = (state.open | opened) & ~cleared
        return StructuralState(next_beat(tally), now.streaks, failed, still_open), findings

    def _finding(self, at: np.intp, state: Literal["opened", "cleared"], row: int, observed: FloatArray) -> Finding:
        limit, expected = float(self.checks.limit[at]), float(self.checks.expected[at])
        return Finding(self.checks.checks[at], state, row, float(observed[at]), limit, expected)
