"""Bets on bins: what they find, what they never do, and the same whatever the blocks."""

from __future__ import annotations

import numpy as np
import pytest
from libs.detect.tests.cutting import cut, told

from driftloop_detect.banks.bank import BankSpec
from driftloop_detect.banks.bins import GRAIN, SCORES, WAGERS, Bins, Kind, binned
from driftloop_detect.banks.inflation import inflation
from driftloop_detect.banks.tilt import TiltBank
from driftloop_detect.errors import NotReady, SnapshotRejected

EVERYTHING = (-np.inf, np.inf)
N_REF, BLOCK, THRESHOLD = 5_000, 32, 12.0


def spec_of(streams: int, block: int = BLOCK, orientation: int = 0) -> BankSpec:
    params = (("block", block), ("threshold", THRESHOLD))
    return BankSpec("tilt", "driftloop:tilt", params, (orientation,) * streams, (EVERYTHING,) * streams)


def bank_of(kind: Kind, references: np.ndarray, block: int = BLOCK) -> TiltBank:
    return TiltBank(spec_of(references.shape[1], block), [binned(kind, one) for one in references.T])


def normal(seed: int, rows: int, streams: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, streams))


@pytest.mark.parametrize("kind", list(WAGERS))
def test_a_bet_neither_gains_nor_loses_while_nothing_changes(kind: Kind) -> None:
    values = normal(1, N_REF, 1)[:, 0]
    reference = binned(kind, values if kind in ("numeric", "upper") else (values > 1).astype(float))
    bank = TiltBank(spec_of(1, block=1), [reference])
    wins = bank._stakes.wins(reference.scores.T[:, None], np.ones((16, 1), np.int64))[:, 0]
    for score, bets in enumerate(WAGERS[kind]):
        for place in range(len(bets)):
            expected = (reference.shares * np.exp(wins[:, score, place].astype(float))).sum()
            assert expected == pytest.approx(1, abs=1e-5), (SCORES[score], bets[place])


def test_scores_have_mean_zero_and_one_standard_deviation_under_the_reference() -> None:
    reference = binned("numeric", np.exp(normal(2, N_REF, 1)[:, 0]))
    for score in reference.scores:
        assert (score * reference.shares).sum() == pytest.approx(0, abs=1e-5)
        assert (score**2 * reference.shares).sum() == pytest.approx(1, abs=1e-5)
        assert np.array_equal(np.round(score / GRAIN), score / GRAIN)


@pytest.mark.parametrize(
    ("change", "score", "within"),
    [
        (lambda x: x + 0.5, "loc", 400),
        (lambda x: x - 0.5, "loc", 400),
        (lambda x: x * 1.5, "scale", 400),
        (lambda x: np.where(x > 2.0, x, np.where(np.arange(len(x))[:, None] % 20 == 0, 4.0, x)), "hi", 800),
    ],
)
def test_a_change_is_found_soon_and_by_the_score_that_it_shows_in(change: object, score: str, within: int) -> None:
    streams = 40
    before, after = normal(3, 1_000, streams), change(normal(4, 5_000, streams))  # type: ignore[operator]
    alarms = bank_of("numeric", normal(5, N_REF, streams)).update_block(np.concatenate([before, after]))
    first = [int(alarms.row[alarms.stream == stream][0]) - 1_000 for stream in range(streams)]
    assert min(first) >= 0
    assert np.median(first) < within
    winners = [SCORES[one] for one in alarms.score[np.unique(alarms.stream, return_index=True)[1]].tolist()]
    assert winners.count(score) > streams / 2
    onsets = alarms.onset_item[np.unique(alarms.stream, return_index=True)[1]]
    assert np.median(np.abs(onsets - 1_000)) < 150


def test_it_is_silent_while_nothing_changes() -> None:
    alarms = bank_of("numeric", normal(6, N_REF, 100)).update_block(normal(7, 20_000, 100))
    # One in two million rows is asked for, two million are given: more than five has a chance of 6 in 10,000.
    assert len(alarms) <= 5


def test_the_marginal_does_not_matter() -> None:
    reference, values = normal(8, N_REF, 5), normal(9, 6_000, 5) + (np.arange(6_000) > 2_000)[:, None] * 0.3
    plain = bank_of("numeric", reference).update_block(values)
    skewed = bank_of("numeric", np.exp(reference)).update_block(np.exp(values))
    assert len(plain) >= 5
    assert plain.rows() == skewed.rows()


def test_ties_and_missing_values_are_no_change() -> None:
    reference, values = np.round(normal(10, N_REF, 20)), np.round(normal(11, 20_000, 20))
    values[::7] = np.nan
    bank = bank_of("numeric", reference)
    assert len(bank.update_block(values)) <= 1
    assert bank.counts.invalid.tolist() == [len(values[::7])] * 20


def test_a_rate_that_falls_is_no_alarm_of_a_rate_and_one_of_a_share() -> None:
    random = np.random.default_rng(12)
    reference = (random.random((N_REF, 1)) < 0.3).astype(float)
    falls, rises = ((random.random((4_000, 1)) < rate).astype(float) for rate in (0.2, 0.4))
    assert len(bank_of("rate", reference).update_block(falls)) == 0
    assert len(bank_of("rate", reference).update_block(rises)) > 0
    (alarm, *_) = bank_of("share", reference).update_block(falls).rows()
    assert alarm["after"] < alarm["before"] == 0


@pytest.mark.parametrize("most", [1, 31, 32, 500])
def test_the_alarms_and_the_state_are_the_same_however_the_rows_are_cut(most: int) -> None:
    rows, streams = (600 if most == 1 else 5_000), 30
    values = normal(13, rows, streams) + (np.arange(rows) > rows // 3)[:, None] * 0.6
    present = np.random.default_rng(14).random(values.shape) < 0.8
    references = [binned("numeric", one) for one in normal(15, N_REF, streams).T]
    whole = TiltBank(spec_of(streams), references)
    expected = told(whole.update_block(values, present))
    bank, found = TiltBank(spec_of(streams), references), []
    for part in cut(rows, seed=most, most=most):
        bank = TiltBank.restore(spec_of(streams), references, bank.snapshot())
        found += told(bank.update_block(values[part], present[part]), part.start)
    assert found == expected
    assert expected
    assert bank.snapshot() == whole.snapshot()


def test_a_failure_that_was_never_seen_is_found_when_a_tenth_of_the_rows_fails() -> None:
    for n_ref in (1_000, N_REF, 200_000):
        bank = bank_of("rate", np.zeros((n_ref, 1)))
        bank.update_block(np.zeros((BLOCK, 1)), np.zeros((BLOCK, 1), bool))
        fails = (np.random.default_rng(21).random((4_000, 1)) < 0.1).astype(float)
        assert bank.update_block(fails).row[0] < 1_000, n_ref


@pytest.mark.parametrize(("shift", "direction"), [(0.5, 1), (-0.5, -1)])
@pytest.mark.parametrize("orientation", [1, -1])
def test_a_stream_with_an_orientation_says_whether_it_became_worse(
    shift: float, direction: int, orientation: int
) -> None:
    past, values = normal(22, N_REF, 1)[:, 0], normal(23, 4_000, 1) + shift
    # A reference is oriented, as what reaches a bank is behind its door.
    bank = TiltBank(spec_of(1, orientation=orientation), [binned("numeric", orientation * past)])
    assert bank.update_block(values).direction[0] == direction * orientation


def test_a_block_that_was_open_when_a_stream_was_reset_belongs_to_what_comes_after() -> None:
    bank = bank_of("numeric", normal(24, N_REF, 1))
    bank.update_block(normal(25, BLOCK - 1, 1) + 5)
    bank.reset(np.array([0]))
    (alarm,) = bank.update_block(np.zeros((1, 1)), np.zeros((1, 1), bool)).rows()
    assert alarm["onset_item"] == 0
    assert alarm["item"] == BLOCK - 2
    # All in the uppermost bin, which holds a hundredth of the reference: ten of its standard deviations.
    assert abs(alarm["after"]) < 11


@pytest.mark.parametrize("threshold", [12.1, 12.3])
def test_wealth_at_the_very_threshold_is_no_alarm(threshold: float) -> None:
    spec = BankSpec("tilt", "driftloop:tilt", (("block", 1), ("threshold", threshold)), (0,), (EVERYTHING,))
    bank = TiltBank(spec, [binned("numeric", normal(26, N_REF, 1)[:, 0])])
    bank._wealth[0, 0, 0] = np.float32(threshold)
    assert len(bank.update_block(np.array([[np.nan]]))) == 0


def test_nothing_of_a_call_is_looked_at_where_its_shapes_differ() -> None:
    bank = bank_of("numeric", normal(27, N_REF, 1))
    with pytest.raises(ValueError, match=r"present of a block"):
        bank.update_block(np.zeros((3_000, 1)), np.ones((5_000, 1), bool))
    assert bank.counts.accepted.tolist() == [0]
    assert len(bank.update_block(np.zeros((0, 1)))) == 0


def test_where_most_values_are_the_greatest_the_others_are_a_bin() -> None:
    values = np.repeat([0.0, 1.0], [25, 4_975])
    assert binned("numeric", values).edges[0] == 0
    assert len(bank_of("numeric", values[:, None]).update_block(np.zeros((640, 1)))) > 0


def test_bytes_under_another_kind_of_bet_are_refused() -> None:
    values = normal(28, N_REF, 1)[:, 0]
    blob = TiltBank(spec_of(1), [binned("numeric", values)]).snapshot()
    with pytest.raises(SnapshotRejected, match="another spec"):
        TiltBank.restore(spec_of(1), [binned("upper", values)], blob)


def test_bytes_under_another_reference_are_refused() -> None:
    references = [binned("numeric", one) for one in normal(16, N_REF, 2).T]
    blob = TiltBank(spec_of(2), references).snapshot()
    with pytest.raises(SnapshotRejected, match="another spec"):
        TiltBank.restore(spec_of(2), references[::-1], blob)


def test_a_reset_stream_has_lost_its_wealth_and_no_other() -> None:
    bank = bank_of("numeric", normal(17, N_REF, 2))
    bank.update_block(normal(18, BLOCK * 3, 2) + 0.5)
    assert (bank.evidence() > 1).all()
    bank.reset(np.array([0]))
    assert bank.evidence()[0] == pytest.approx(0)
    assert bank.evidence()[1] > 1


def test_a_series_that_depends_on_itself_is_judged_by_its_own_variance() -> None:
    random = np.random.default_rng(19)

    def series(rows: int) -> np.ndarray:
        out, noise = np.zeros((rows, 50)), random.standard_normal((rows, 50))
        for row in range(1, rows):
            out[row] = 0.5 * out[row - 1] + noise[row]
        return out

    past, values = series(N_REF), series(20_000)
    references = [binned("numeric", one) for one in past.T]
    vif = np.stack([inflation(one, column, BLOCK) for one, column in zip(references, past.T, strict=True)])
    naive = len(TiltBank(spec_of(50), references).update_block(values))
    aware = len(TiltBank(spec_of(50), references, vif).update_block(values))
    assert naive > 100
    assert aware <= naive / 10


def test_the_variance_of_blocks_needs_some() -> None:
    values = normal(29, 500, 1)[:, 0]
    with pytest.raises(NotReady, match="512 rows shows in 5 times as many, got 500"):
        inflation(binned("numeric", values), values, 512)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.zeros(100), "at least 500 rows, got 100"),
        (np.full(1_000, 3.0), "all 1000 values of the reference are 3"),
        (np.append(np.arange(1_000.0), np.nan), "finite values only"),
    ],
)
def test_a_reference_that_shows_nothing_is_refused_with_the_reason(values: np.ndarray, reason: str) -> None:
    with pytest.raises(NotReady, match=reason):
        binned("numeric", values)


def test_a_rate_is_of_zeros_and_ones() -> None:
    with pytest.raises(NotReady, match=r"zeros and ones, got 0\.5"):
        binned("rate", np.full(1_000, 0.5))


def test_as_many_references_as_streams() -> None:
    reference: Bins = binned("numeric", normal(20, N_REF, 1)[:, 0])
    with pytest.raises(ValueError, match="2 streams have a reference each, got 1"):
        TiltBank(spec_of(2), [reference])
