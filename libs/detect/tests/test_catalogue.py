"""One suite for every detector of the catalogue: listed is tested."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import drift

from driftloop_detect import catalogue
from driftloop_detect.errors import DetectorRefused, SnapshotRejected
from driftloop_detect.guarded import DetectorState, GuardedDetector, primed, step
from driftloop_detect.spec import Alarms, DetectorSpec, FloatArray

every_detector = pytest.mark.parametrize("name", list(catalogue.ENTRIES))


def errors(n: int, rate: float, seed: int) -> FloatArray:
    """Independent errors; for Page-Hinkley, which wants them so, standardised by the healthy rate .1."""
    return (np.random.default_rng(seed).random(n) < rate).astype(np.float64)


def values(name: str, n: int, rate: float, seed: int) -> FloatArray:
    raw = errors(n, rate, seed)
    return (raw - 0.1) / 0.3 if name == "page_hinkley" else raw


def changing(name: str, n: int = 6000, seed: int = 0) -> FloatArray:
    """The error rate moves between .1 and .5 every 1,500 items."""
    blocks = [values(name, 1500, (0.1, 0.5)[i % 2], seed + i) for i in range(n // 1500)]
    return np.concatenate(blocks)


def cut(whole: FloatArray, sizes: list[int]) -> list[FloatArray]:
    return np.split(whole, np.cumsum(sizes)[np.cumsum(sizes) < len(whole)])


def alarms_of(parts: list[FloatArray], spec: DetectorSpec) -> list[dict[str, float]]:
    """All alarms of a stream that comes in parts; rows are counted over all of them."""
    detector, found, start = GuardedDetector(spec), [], 0
    for part in parts:
        found += [{**alarm, "row": alarm["row"] + start} for alarm in detector.update_many(part).rows()]
        start += len(part)
    return found


def rivers_own(spec: DetectorSpec, made_by: str, stream: FloatArray) -> list[int]:
    """Where river alarms when its flag is read after each value."""
    river = getattr(drift, made_by, None) or getattr(drift.binary, made_by)
    detector, rows = river(**spec.settings), []
    for row, value in enumerate(stream.tolist()):
        detector.update(value)
        rows += [row] if detector.drift_detected else []
    return rows


@every_detector
def test_the_alarms_are_rivers_own(name: str) -> None:
    spec, stream = catalogue.spec(name), changing(name)
    theirs = rivers_own(spec, catalogue.ENTRIES[name].made_by, stream)
    ours = GuardedDetector(spec).update_many(stream)
    assert ours.row.tolist() == ours.item.tolist() == theirs
    assert len(theirs) >= 2


@every_detector
def test_a_worsening_is_found_and_called_worse(name: str) -> None:
    found = 0
    for seed in range(20):
        stream = np.concatenate([values(name, 1000, 0.1, seed), values(name, 1000, 0.5, 100 + seed)])
        alarms = GuardedDetector(catalogue.spec(name)).update_many(stream)
        after = alarms.item >= 1000
        found += bool(after.any())
        assert (alarms.direction[after] == 1).all()
        assert (alarms.after > alarms.before)[after].all()
    assert found == 20


@every_detector
def test_a_stream_whose_smaller_values_are_worse_is_turned_round_at_the_door(name: str) -> None:
    worse = np.concatenate([values(name, 1000, 0.1, 1), values(name, 1000, 0.5, 2)])
    turned = -worse if name == "page_hinkley" else 1 - worse
    ours = GuardedDetector(catalogue.spec(name, orientation=-1)).update_many(turned)
    assert ours.rows() == GuardedDetector(catalogue.spec(name)).update_many(worse).rows()
    assert (ours.direction == 1).all()
    assert len(ours) > 0


@every_detector
@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(0, 700), max_size=12))
def test_however_the_stream_is_cut_the_same_alarms_follow(name: str, sizes: list[int]) -> None:
    stream, spec = changing(name, 3000), catalogue.spec(name)
    assert alarms_of(cut(stream, sizes), spec) == alarms_of([stream], spec)


@every_detector
@settings(max_examples=10, deadline=None)
@given(st.data())
def test_values_that_are_no_numbers_change_nothing_wherever_they_come(name: str, data: st.DataObject) -> None:
    stream, spec = changing(name, 3000), catalogue.spec(name)
    at = data.draw(st.lists(st.integers(0, len(stream)), min_size=1, max_size=20))
    dirt = data.draw(st.lists(st.sampled_from([np.nan, np.inf, -np.inf]), min_size=len(at), max_size=len(at)))
    detector = GuardedDetector(spec)
    dirty = detector.update_many(np.insert(stream, at, dirt))
    assert dirty.item.tolist() == GuardedDetector(spec).update_many(stream).item.tolist()
    assert detector.counts.not_finite == len(at)
    assert detector.counts.accepted == len(stream)


@every_detector
@pytest.mark.parametrize("seen", [0, 1, 31, 1777])
def test_a_restored_detector_raises_the_same_alarms_on_twenty_thousand_further_items(name: str, seen: int) -> None:
    spec = catalogue.spec(name)
    before, further = changing(name)[:seen], changing(name, 21_000, seed=50)[:20_000]
    original = GuardedDetector(spec)
    original.update_many(before)
    restored = GuardedDetector.restore(spec, original.snapshot())
    alarms = original.update_many(further)
    assert restored.update_many(further).rows() == alarms.rows()
    assert restored.snapshot() == original.snapshot()
    assert len(alarms) >= 5


@every_detector
def test_a_detector_taken_down_on_the_very_step_of_an_alarm_goes_on_as_the_other(name: str) -> None:
    spec, stream = catalogue.spec(name), changing(name)
    first = int(GuardedDetector(spec).update_many(stream).row[0])
    kept = GuardedDetector(spec)
    kept.update_many(stream[: first + 1])
    restored = GuardedDetector.restore(spec, kept.snapshot())
    assert restored.update_many(stream[first + 1 :]).rows() == kept.update_many(stream[first + 1 :]).rows()


@every_detector
def test_a_damaged_snapshot_is_rejected_whichever_bit_flips(name: str) -> None:
    spec = catalogue.spec(name)
    detector = GuardedDetector(spec)
    detector.update_many(changing(name, 1500))
    blob = detector.snapshot()
    for at, bit in itertools.product(range(len(blob)), (0, 7)):
        damaged = bytearray(blob)
        damaged[at] ^= 1 << bit
        with pytest.raises(SnapshotRejected):
            GuardedDetector.restore(spec, bytes(damaged))
    for end in range(0, len(blob), 13):
        with pytest.raises(SnapshotRejected):
            GuardedDetector.restore(spec, blob[:end])


@every_detector
def test_a_snapshot_of_other_parameters_is_rejected_with_the_reason(name: str) -> None:
    spec = catalogue.spec(name)
    other = catalogue.spec(name, orientation=-1)
    with pytest.raises(SnapshotRejected, match="another spec: other parameters, or another version of river"):
        GuardedDetector.restore(other, GuardedDetector(spec).snapshot())


def test_a_snapshot_of_another_detector_is_rejected() -> None:
    blob = GuardedDetector(catalogue.spec("hddm_a")).snapshot()
    with pytest.raises(SnapshotRejected, match="another spec"):
        GuardedDetector.restore(catalogue.spec("hddm_w"), blob)


@every_detector
def test_a_step_leaves_the_old_state_good(name: str) -> None:
    start = primed(catalogue.spec(name))
    once, alarms = step(start, changing(name))
    again, same_alarms = step(start, changing(name))
    assert (once, alarms.rows()) == (again, same_alarms.rows())
    assert start == primed(catalogue.spec(name))
    assert once.counts.alarms == len(alarms) > 0


@every_detector
def test_steps_raise_the_alarms_of_one_detector(name: str) -> None:
    stream, spec = changing(name), catalogue.spec(name)
    state: DetectorState = primed(spec)
    found: list[Alarms] = []
    for part in np.split(stream, 7 * np.arange(1, 100)):
        state, alarms = step(state, part)
        found.append(alarms)
    assert np.concatenate([alarms.item for alarms in found]).tolist() == [
        alarm["item"] for alarm in alarms_of([stream], spec)
    ]


@every_detector
def test_a_primed_detector_finds_a_stream_that_is_bad_from_its_first_item(name: str) -> None:
    def found(memory: FloatArray | None) -> int:
        runs = (step(primed(catalogue.spec(name), memory), values(name, 1000, 0.5, seed))[1] for seed in range(20))
        return sum(len(alarms) > 0 for alarms in runs)

    assert found(values(name, 1000, 0.1, 99)) == 20
    if name == "adwin":  # the others alarm by chance on so high a rate now and then
        assert found(None) == 0


@every_detector
def test_a_memory_on_which_the_detector_alarms_is_not_lost(name: str) -> None:
    memory = np.sort(values(name, 2000, 0.1, 3))
    alone = GuardedDetector(catalogue.spec(name))
    assert alone.prime(memory) > 0
    state = primed(catalogue.spec(name), memory)
    assert state.counts.accepted == 0
    assert len(step(state, values(name, 1000, 0.5, 4))[1]) > 0


@every_detector
def test_an_empty_call_says_nothing_and_changes_nothing(name: str) -> None:
    state = primed(catalogue.spec(name), values(name, 100, 0.1, 0))
    after, alarms = step(state, np.array([]))
    assert (after, len(alarms)) == (state, 0)


@every_detector
def test_reset_empties_the_memory_and_keeps_the_counts(name: str) -> None:
    detector = GuardedDetector(catalogue.spec(name))
    detector.update_many(values(name, 500, 0.1, 0))
    detector.reset()
    assert detector.counts.accepted == 500
    fresh = GuardedDetector(catalogue.spec(name)).update_many(changing(name))
    assert detector.update_many(changing(name)).row.tolist() == fresh.row.tolist()


@every_detector
def test_values_of_another_shape_are_a_bug_of_the_caller(name: str) -> None:
    with pytest.raises(ValueError, match=r"shape \(n,\)"):
        GuardedDetector(catalogue.spec(name)).update_many(np.zeros((3, 2)))


@pytest.mark.parametrize("name", list(catalogue.REFUSED))
def test_what_is_refused_is_refused_with_the_reason_and_what_to_take(name: str) -> None:
    with pytest.raises(DetectorRefused, match=r"is not run: .*; use (adwin|hddm_a)"):
        catalogue.spec(name)


def test_an_unknown_name_or_parameter_is_answered_with_what_there_is() -> None:
    with pytest.raises(DetectorRefused, match="page_hinkley, adwin, hddm_a, hddm_w"):
        catalogue.spec("adwim")
    with pytest.raises(DetectorRefused, match="has no parameter 'thresold'; it has min_instances, delta, threshold"):
        catalogue.spec("page_hinkley", thresold=5)


def test_five_and_five_point_zero_are_one_spec() -> None:
    assert catalogue.spec("page_hinkley", threshold=5).digest == catalogue.spec("page_hinkley", threshold=5.0).digest


def test_a_spec_of_another_river_is_refused() -> None:
    spec = catalogue.spec("adwin")
    old = DetectorSpec(spec.name, "river-0.25.0:ADWIN", spec.params, spec.orientation, spec.domain)
    with pytest.raises(DetectorRefused, match=r"river-0\.25\.0:ADWIN, installed is river-0\.26"):
        GuardedDetector(old)
