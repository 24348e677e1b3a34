"""The bank raises river's alarms at river's items: any batching, any gaps, and through bytes at any row."""

from __future__ import annotations

import numpy as np
import pytest
import river
from libs.detect.tests.cutting import cut, told
from river import drift

from driftloop_detect.banks.adwin import AdwinBank
from driftloop_detect.banks.bank import BankAlarms, BankSpec
from driftloop_detect.banks.buckets import ends
from driftloop_detect.errors import SnapshotRejected
from driftloop_detect.frame import pack, unpack

EVERYTHING = (-np.inf, np.inf)
STREAMS, ROWS = 200, 4_000


def spec_of(streams: int, orientation: int = 1, domain: tuple[float, float] = EVERYTHING) -> BankSpec:
    return BankSpec(
        "vadwin", f"river-{river.__version__}:ADWIN", (("delta", 0.002),), (orientation,) * streams, (domain,) * streams
    )


def world(seed: int, rows: int = ROWS, streams: int = STREAMS) -> np.ndarray:
    """Streams of eight kinds, most of which change, some more than once."""
    random = np.random.default_rng(seed)
    noise = random.standard_normal((rows, streams))
    change = random.integers(rows // 4, rows, streams)
    shift = (np.arange(rows)[:, None] >= change) * random.choice([0.0, 0.5, 1.0, -1.0], streams)
    again = (np.arange(rows)[:, None] >= change + 700) * random.choice([0.0, 1.0], streams)
    level = shift + again
    kinds = [
        (random.random((rows, streams)) < 0.2 + 0.2 * np.clip(level, 0, 2)).astype(float),
        noise + level,
        np.exp(noise + level),
        np.round(noise + level),
        np.cumsum(noise, axis=0) * 0.05 + noise + level,
        np.sin(np.arange(rows)[:, None] / 50) + noise + level,
        np.zeros((rows, streams)) + 0.25,
        noise + level + 1e6,
    ]
    return np.stack(kinds)[np.arange(streams) % len(kinds), :, np.arange(streams)].T


def rivers(values: np.ndarray, present: np.ndarray | None = None) -> list[tuple[int, int]]:
    """(row, stream) of each of river's alarms."""
    found = []
    for stream in range(values.shape[1]):
        detector = drift.ADWIN()
        rows = np.arange(len(values)) if present is None else np.flatnonzero(present[:, stream])
        for row, value in zip(rows.tolist(), values[rows, stream].tolist(), strict=True):
            detector.update(value)
            if detector.drift_detected:
                found.append((row, stream))
    return sorted(found)


def placed(alarms: BankAlarms, start: int) -> list[tuple[int, int]]:
    return [(int(one["row"]), int(one["stream"])) for one in told(alarms, start)]


@pytest.mark.parametrize("n", range(200))
def test_a_window_is_cut_as_if_its_items_had_come_one_by_one(n: int) -> None:
    levels: list[int] = []
    for _ in range(n):
        levels.insert(0, 1)
        size = 1
        while levels.count(size) > 5:
            oldest = max(at for at, one in enumerate(levels) if one == size)
            levels[oldest - 1 : oldest + 1] = [2 * size]
            size *= 2
    assert ends(n).tolist() == np.cumsum(levels[::-1]).tolist()


@pytest.mark.parametrize("most", [1, 31, 100, 1_000, ROWS])
def test_the_alarms_are_rivers_on_two_hundred_streams_at_any_batching(most: int) -> None:
    values = world(seed=5)
    bank, found = AdwinBank(spec_of(STREAMS)), []
    for part in cut(ROWS, seed=most, most=most):
        found += placed(bank.update_block(values[part]), part.start)
    expected = rivers(values)
    assert found == expected
    assert len(expected) > STREAMS, "some streams have to alarm again after an alarm"


def test_what_is_absent_is_no_item_of_its_stream() -> None:
    values = world(seed=6)
    present = np.random.default_rng(7).random(values.shape) < np.linspace(0.2, 1, STREAMS)
    bank, found = AdwinBank(spec_of(STREAMS)), []
    for part in cut(ROWS, seed=8, most=300):
        found += placed(bank.update_block(values[part], present[part]), part.start)
    assert found == rivers(values, present)
    assert bank.counts.accepted.tolist() == present.sum(axis=0).tolist()
    assert bank.counts.absent.tolist() == (~present).sum(axis=0).tolist()


def test_one_value_that_is_no_number_deafens_nobody() -> None:
    values = world(seed=9, streams=16)
    broken = values.copy()
    broken[100, :], broken[101, :], broken[102, :] = np.nan, np.inf, -np.inf
    bank = AdwinBank(spec_of(16))
    found = placed(bank.update_block(broken), 0)
    good = np.isfinite(broken)
    assert found == rivers(values, good)
    assert found
    assert bank.counts.invalid.tolist() == [3] * 16


def test_state_goes_through_bytes_at_any_row() -> None:
    values, spec = world(seed=10), spec_of(STREAMS)
    present = np.random.default_rng(11).random(values.shape) < 0.9
    whole = AdwinBank(spec)
    expected = whole.update_block(values, present)
    bank, rows = AdwinBank(spec), []
    for part in cut(ROWS, seed=12, most=400):
        bank = AdwinBank.restore(spec, bank.snapshot())
        rows += told(bank.update_block(values[part], present[part]), part.start)
    assert rows == told(expected)
    assert bank.snapshot() == whole.snapshot()


def test_bytes_of_another_spec_are_refused() -> None:
    blob = AdwinBank(spec_of(3)).snapshot()
    with pytest.raises(SnapshotRejected, match="another spec"):
        AdwinBank.restore(spec_of(4), blob)
    with pytest.raises(SnapshotRejected, match="checksum"):
        AdwinBank.restore(spec_of(3), blob[:-1] + b"\0")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"waits": np.array([40])}, "lengths that no window has"),
        ({"n": np.array([33])}, "lengths that no window has"),
        ({"sums": np.zeros(1)}, "sums are not those of its windows"),
        ({"n": np.array([0.0])}, "other types"),
        ({"n": np.array([0, 0])}, "no state of 1 streams"),
        ({"more": np.zeros(1)}, "no state of ADWIN"),
    ],
)
def test_a_whole_frame_that_holds_no_state_is_refused(change: dict[str, np.ndarray], reason: str) -> None:
    spec = spec_of(1)
    arrays = unpack(spec.digest, AdwinBank(spec).snapshot()) | change
    with pytest.raises(SnapshotRejected, match=reason):
        AdwinBank.restore(spec, pack(spec.digest, arrays))


def test_no_rows_are_no_alarm() -> None:
    bank = AdwinBank(spec_of(2))
    assert len(bank.update_block(np.zeros((0, 2)))) == 0
    assert bank.prime(0, np.zeros(0)) == 0
    bank.update_block(np.zeros((32, 2)))
    assert len(bank.update_block(np.zeros((0, 2)))) == 0


def test_equal_specs_read_each_others_bytes() -> None:
    spec = spec_of(1, domain=(0.0, 1.0))
    other = BankSpec(spec.backend, spec.semantics, spec.params, (np.int64(1),), ((0, np.float64(1)),))
    assert AdwinBank.restore(other, AdwinBank(spec).snapshot()).counts.accepted.tolist() == [0]


def test_an_alarm_says_where_the_change_began_and_what_changed() -> None:
    random = np.random.default_rng(13)
    values = random.standard_normal((3_000, 1))
    values[2_000:] += 2
    alarms = AdwinBank(spec_of(1)).update_block(values)
    (only,) = alarms.rows()
    assert only["onset_item"] == pytest.approx(2_000, abs=32)
    assert only["before"] == pytest.approx(0, abs=0.2)
    assert only["after"] == pytest.approx(2, abs=0.5)
    assert only["direction"] == 1
    assert only["item"] == only["row"]


@pytest.mark.parametrize(("orientation", "direction"), [(1, -1), (-1, 1), (0, 1)])
def test_a_falling_rate_is_worse_where_less_is_worse(orientation: int, direction: int) -> None:
    random = np.random.default_rng(14)
    values = (random.random((3_000, 1)) < np.where(np.arange(3_000) < 1_500, 0.8, 0.4)[:, None]).astype(float)
    alarms = AdwinBank(spec_of(1, orientation, (0.0, 1.0))).update_block(values)
    assert alarms.direction.tolist() == [direction]


def test_a_primed_stream_is_held_to_its_past_from_its_first_item_on() -> None:
    random = np.random.default_rng(15)
    past, bad = (random.random(2_000) < 0.1).astype(float), (random.random((1_000, 2)) < 0.3).astype(float)
    bank = AdwinBank(spec_of(2))
    assert bank.prime(1, past) == 0
    alarms = bank.update_block(bad)
    assert set(alarms.stream.tolist()) == {1}
    assert alarms.item[0] == alarms.row[0] < 300
    assert bank.counts.accepted.tolist() == [1_000, 1_000], "what primes counts as no items"


def test_a_memory_on_which_it_alarms_is_told() -> None:
    bank = AdwinBank(spec_of(1))
    assert bank.prime(0, np.repeat([0.0, 1.0], 500)) > 0


def test_a_reset_stream_begins_anew_and_the_others_do_not() -> None:
    values = np.zeros((320, 2))
    bank = AdwinBank(spec_of(2))
    bank.update_block(values)
    bank.reset(np.array([0]))
    assert bank.update_block(np.ones((64, 2))).stream.tolist() == [1]


def test_a_block_of_another_shape_is_refused_with_both_shapes() -> None:
    with pytest.raises(ValueError, match=r"\(4, 3\), got \(4, 2\)"):
        AdwinBank(spec_of(3)).update_block(np.zeros((4, 2)))
