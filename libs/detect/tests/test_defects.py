"""What river 0.26 gets wrong when it is used as it comes, and that the guard before it does not.

Each test shows both: the defect in river itself, so that a river without it makes the test fail and the guard can go,
and the guarded detector on the same stream.
"""

from typing import Any

import numpy as np
import pytest
from river import drift

from driftloop_detect import catalogue
from driftloop_detect.guarded import GuardedDetector
from driftloop_detect.spec import FloatArray

STREAMS = 20
RIVERS: dict[str, Any] = {
    "page_hinkley": drift.PageHinkley,
    "adwin": drift.ADWIN,
    "hddm_a": drift.binary.HDDMA,
    "hddm_w": drift.binary.HDDMW,
}


def errors(n: int, rate: float, seed: int) -> FloatArray:
    return (np.random.default_rng(seed).random(n) < rate).astype(np.float64)


def worsening(name: str, seed: int, dirt: float | None = None) -> FloatArray:
    """1,000 items at rate .1, then 1,000 at .5; one foreign value before the change."""
    stream = np.concatenate([errors(1000, 0.1, seed), errors(1000, 0.5, 1000 + seed)])
    stream = (stream - 0.1) / 0.3 if name == "page_hinkley" else stream
    return stream if dirt is None else np.insert(stream, 500, dirt)


def raw(name: str) -> Any:
    return RIVERS[name](**catalogue.spec(name).settings)


def raw_alarms(detector: Any, stream: FloatArray, read_every: int = 1) -> list[int]:
    rows = []
    for row, value in enumerate(stream.tolist()):
        detector.update(value)
        if (row + 1) % read_every == 0 and detector.drift_detected:
            rows.append(row)
    return rows


def found(rows: list[int]) -> bool:
    return any(row > 1000 for row in rows)


@pytest.mark.parametrize("name", list(RIVERS))
def test_1_one_nan_deafens_river_for_good(name: str) -> None:
    assert sum(found(raw_alarms(raw(name), worsening(name, seed, np.nan))) for seed in range(STREAMS)) == 0
    guarded = (GuardedDetector(catalogue.spec(name)).update_many(worsening(name, s, np.nan)) for s in range(STREAMS))
    assert sum(found(alarms.row.tolist()) for alarms in guarded) == STREAMS


@pytest.mark.parametrize("name", ["page_hinkley", "adwin"])
def test_1_so_does_one_infinity(name: str) -> None:
    assert sum(found(raw_alarms(raw(name), worsening(name, seed, np.inf))) for seed in range(STREAMS)) == 0
    guarded = (GuardedDetector(catalogue.spec(name)).update_many(worsening(name, s, np.inf)) for s in range(STREAMS))
    assert sum(found(alarms.row.tolist()) for alarms in guarded) == STREAMS


def test_2_fhddm_watches_the_wrong_way_and_is_not_in_the_catalogue() -> None:
    worse = sum(bool(raw_alarms(drift.binary.FHDDM(), worsening("fhddm", seed))) for seed in range(STREAMS))
    better = sum(bool(raw_alarms(drift.binary.FHDDM(), 1 - worsening("fhddm", seed))) for seed in range(STREAMS))
    assert better > worse
    assert "fhddm" in catalogue.REFUSED


@pytest.mark.parametrize("batch", [50, 100, 500])
def test_3_a_flag_that_is_read_once_a_batch_is_lost(batch: int) -> None:
    by_batch = [raw_alarms(raw("adwin"), worsening("adwin", seed), read_every=batch) for seed in range(STREAMS)]
    assert sum(found(rows) for rows in by_batch) == 0
    count = 0
    for seed in range(STREAMS):
        detector = GuardedDetector(catalogue.spec("adwin"))
        parts = [detector.update_many(part) for part in np.split(worsening("adwin", seed), 2000 // batch)]
        count += any(len(part) for part in parts[1000 // batch :])
    assert count == STREAMS


def test_4_the_order_in_a_batch_decides_so_it_is_kept() -> None:
    stream = worsening("adwin", 0)
    detector = GuardedDetector(catalogue.spec("adwin"))
    assert detector.update_many(stream).row.tolist() == raw_alarms(raw("adwin"), stream)
    by_size = np.concatenate([np.sort(part) for part in np.split(stream, 4)])
    assert raw_alarms(raw("adwin"), by_size) != raw_alarms(raw("adwin"), stream)


def test_5_river_counts_no_further_than_one_and_our_counts_are_never_reset() -> None:
    stream = np.concatenate([worsening("adwin", seed) for seed in range(5)])
    river, guarded = raw("adwin"), GuardedDetector(catalogue.spec("adwin"))
    alarms = raw_alarms(river, stream)
    guarded.update_many(stream)
    assert len(alarms) > 5
    assert river.n_detections <= 1
    assert river.width < len(stream)
    assert guarded.counts.alarms == len(alarms)
    assert guarded.counts.accepted == len(stream)


def test_6_adwin_in_other_units_is_another_detector_so_its_domain_is_declared() -> None:
    stream = worsening("adwin", 0)
    assert raw_alarms(raw("adwin"), stream * 100) != raw_alarms(raw("adwin"), stream)
    guarded = GuardedDetector(catalogue.spec("adwin"))
    assert len(guarded.update_many(stream * 100)) == 0
    assert guarded.counts.outside_domain == np.count_nonzero(stream)


def test_8_kswin_throws_its_window_away_and_eddm_alarms_on_a_stream_that_stands_still() -> None:
    kswin = drift.KSWIN(seed=1)
    alarms = raw_alarms(kswin, np.concatenate([np.zeros(200), np.ones(31)]))
    assert alarms
    still = sum(len(raw_alarms(drift.binary.EDDM(), errors(20_000, 0.1, seed))) for seed in range(3))
    assert still >= 10
    assert {"kswin", "eddm"} <= set(catalogue.REFUSED)


def test_9_ddm_takes_the_first_error_for_drift_and_raises_beyond_one() -> None:
    assert raw_alarms(drift.binary.DDM(), np.array([0.0] * 100 + [1.0])) == [100]
    with pytest.raises(ValueError, match=r"math domain error|expected a nonnegative input"):
        raw_alarms(drift.binary.DDM(), np.array([2.0, 3.0]))
    assert "ddm" in catalogue.REFUSED


@pytest.mark.parametrize("name", ["adwin", "hddm_a", "hddm_w"])
@pytest.mark.parametrize("foreign", [1.5, -0.5, 1e12])
def test_9_a_value_outside_the_domain_goes_no_further(name: str, foreign: float) -> None:
    dirty = worsening(name, 0, foreign)
    river = raw(name)
    raw_alarms(river, dirty)  # takes it without a word
    guarded = GuardedDetector(catalogue.spec(name))
    clean = GuardedDetector(catalogue.spec(name)).update_many(worsening(name, 0))
    assert guarded.update_many(dirty).item.tolist() == clean.item.tolist()
    assert guarded.counts.outside_domain == 1


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("adwin", {}),
        ("page_hinkley", {"mode": "both", "threshold": 20.0}),
        ("hddm_a", {"two_sided_test": True}),
        ("hddm_w", {"two_sided_test": True}),
    ],
)
def test_10_an_alarm_on_an_improvement_is_called_better(name: str, params: dict[str, Any]) -> None:
    heard = 0
    for seed in range(STREAMS):
        improving = np.concatenate([errors(1000, 0.9, seed), errors(1000, 0.05, 1000 + seed)])
        improving = (improving - 0.1) / 0.3 if name == "page_hinkley" else improving
        alarms = GuardedDetector(catalogue.spec(name, **params)).update_many(improving)
        after = np.flatnonzero(alarms.item >= 1000)
        heard += len(after) > 0
        assert (alarms.direction[after[:1]] == -1).all()
        assert (np.sign(alarms.after - alarms.before) == alarms.direction)[after].all()
    assert heard >= STREAMS - 1
