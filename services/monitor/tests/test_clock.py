"""What the two topics together have surely told."""

import numpy as np

from monitor.domain.ahead import AGREEING_ROWS, AHEAD_US, believed
from monitor.domain.clock import MAX_STREAMS, PATIENCE_US, Clocks, advanced, bounded


def times(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_the_watermark_is_the_least_of_both_topics() -> None:
    clocks, _ = advanced(Clocks(), "predictions", ["m", "m"], times(5, 9))
    assert clocks.watermark == 0
    clocks, _ = advanced(clocks, "outcomes", ["m"], times(7))
    assert clocks.watermark == 7
    clocks, _ = advanced(clocks, "outcomes", ["m"], times(20))
    assert clocks.watermark == 9


def test_a_row_out_of_order_arrives_with_the_clock_and_the_watermark_never_goes_back() -> None:
    clocks, _ = advanced(Clocks(), "predictions", ["m"], times(100))
    clocks, arrived = advanced(clocks, "outcomes", ["m"] * 4, times(10, 50, 20, 60))
    assert arrived.tolist() == [10, 50, 50, 60]
    assert clocks.watermark == 60
    clocks, arrived = advanced(clocks, "outcomes", ["m"], times(5))
    assert (clocks.watermark, arrived.tolist()) == (60, [60])


def test_every_shard_holds_the_model_back_and_has_a_clock_of_its_own() -> None:
    names = ["m/1", "m/2", "m/1", "m/2"]
    clocks, arrived = advanced(Clocks(), "predictions", names, times(10, 30, 5, 40))
    assert arrived.tolist() == [10, 30, 10, 40]
    clocks, _ = advanced(clocks, "outcomes", ["m/1", "m/2"], times(100, 25))
    assert clocks.watermark == 10


def test_one_by_one_or_all_at_once_is_the_same() -> None:
    random = np.random.default_rng(3)
    names, moments = [f"m/{i}" for i in random.integers(0, 3, 200)], random.integers(0, 1000, 200)
    kinds = ["predictions"] * 100 + ["outcomes"] * 100
    whole, arrived = Clocks(), []
    for kind in ("predictions", "outcomes"):
        rows = [i for i, other in enumerate(kinds) if other == kind]
        whole, part = advanced(whole, kind, [names[i] for i in rows], moments[rows])
        arrived += part.tolist()
    single, one_by_one = Clocks(), []
    for name, moment, kind in zip(names, moments.tolist(), kinds, strict=True):
        single, part = advanced(single, "predictions" if kind == "predictions" else "outcomes", [name], times(moment))
        one_by_one += part.tolist()
    assert single == whole
    assert one_by_one == arrived


def test_a_silent_topic_is_left_behind_by_half_a_day() -> None:
    clocks, _ = advanced(Clocks(), "predictions", ["m"], times(3 * PATIENCE_US))
    assert clocks.far_apart
    assert clocks.without_the_silent(clocks.newest).watermark == 2 * PATIENCE_US
    assert not clocks.without_the_silent(clocks.newest).far_apart


def test_rows_far_ahead_are_believed_once_enough_of_them_agree_however_they_are_cut() -> None:
    moments = np.concatenate(
        [np.full(5, 10), np.full(150, 3 * AHEAD_US), times(90 * AHEAD_US), np.full(3, 3 * AHEAD_US)]
    )
    for size in (1, 7, len(moments)):
        clocks, kept = Clocks(), list[bool]()
        for start in range(0, len(moments), size):
            part = moments[start : start + size]
            clocks, good = believed(clocks, "outcomes", ["m"] * len(part), part, 5)
            clocks, _ = advanced(clocks, "outcomes", ["m"] * int(good.sum()), part[good])
            kept += good.tolist()
        left_out = [*range(5, 5 + AGREEING_ROWS - 1), 155]
        assert np.flatnonzero(~np.array(kept)).tolist() == left_out
        assert clocks.ahead == {}


def test_a_stream_without_a_clock_is_held_to_what_was_declared() -> None:
    _, kept = believed(Clocks(), "outcomes", ["m"] * 2, times(2 * AHEAD_US, 9), 5)
    assert kept.tolist() == [False, True]
    _, kept = believed(Clocks(), "outcomes", ["m"] * 2, times(2 * AHEAD_US, 9), 0)
    assert kept.tolist() == [True, True]


def test_streams_beyond_the_most_go_on_as_one_however_they_are_cut() -> None:
    names = [f"m/{i}" for i in np.random.default_rng(5).integers(0, 3 * MAX_STREAMS, 2_000)]
    found = []
    for size in (1, 7, len(names)):
        clocks, streams = Clocks(), list[str]()
        for start in range(0, len(names), size):
            part = bounded(clocks, names[start : start + size], "m/*0")
            clocks, _ = advanced(clocks, "predictions", part, np.full(len(part), 5))
            streams += part
        assert set(clocks.predictions) == set(streams)
        assert len(clocks.predictions) == MAX_STREAMS + 1
        found.append(streams)
    assert found[0] == found[1] == found[2]


def test_a_stream_of_which_nothing_is_believed_yet_takes_a_place_too() -> None:
    clocks, kept = believed(Clocks(), "outcomes", ["m/a"], times(3 * AHEAD_US), 5)
    assert not kept.any()
    names = [f"m/{i}" for i in range(MAX_STREAMS)]
    assert bounded(clocks, names, "m/*0") == [*names[:-1], "m/*0"]
    assert bounded(Clocks(), names, "m/*0") is names
