"""The training function: one contract for both kinds of model."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from driftloop_models import ModelRefused, check_golden, columns_of, golden, load, save, wrap
from flights.features import FEATURES
from flights.offline import Seen
from flights.story import CHAMPION_UNTIL
from flights.times import minutes_at
from flights.train import train

pytestmark = pytest.mark.world


@pytest.fixture(scope="module")
def rows(year: Seen) -> pa.Table:
    """A dataset as the feature store builds it: more columns than the model wants."""
    some = year.arrived_by(minutes_at(CHAMPION_UNTIL))[-6000:]
    columns = {name: pa.array(column[some], from_pandas=True) for name, column in year.features.items()}
    return pa.table({"prediction_id": year.entity[some], **columns, "target": year.late[some].astype(int)})


@pytest.mark.parametrize("kind", ["linear", "boosted"])
def test_the_same_rows_and_seed_give_the_same_bytes(kind: str, rows: pa.Table) -> None:
    assert save(train(rows, "target", {"kind": kind}, 7)) == save(train(rows, "target", {"kind": kind}, 7))


@pytest.mark.parametrize("kind", ["linear", "boosted"])
def test_the_model_is_one_that_can_be_stored_loaded_and_held_to_its_answers(kind: str, rows: pa.Table) -> None:
    columns = columns_of(rows, FEATURES)
    model = wrap(train(rows, "target", {"kind": kind}, 7), FEATURES, task="binary", classes=(0, 1), sample=columns)
    check_golden(load(save(model), max_bytes=10_000_000), golden(model, columns))


@pytest.mark.parametrize("kind", ["linear", "boosted"])
def test_a_departure_whose_weather_plane_and_past_are_unknown_still_gets_an_answer(kind: str, rows: pa.Table) -> None:
    model = train(rows, "target", {"kind": kind}, 7)
    score = model.score({"carrier": ["XX"], "origin": ["JFK"], "dest": [None], "distance": [800.0]})
    assert 0 < score[0] < 1


def test_outcomes_may_be_booleans(rows: pa.Table) -> None:
    late = pa.array(rows["target"].to_numpy().astype(bool))
    as_booleans = rows.drop_columns(["target"]).append_column("target", late)
    assert np.array_equal(
        train(as_booleans, "target", {}, 7).score(columns_of(rows, FEATURES)),
        train(rows, "target", {}, 7).score(columns_of(rows, FEATURES)),
    )


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"kind": "forest"}, "'forest'; allowed: linear, boosted"),
        ({"kind": "linear", "max_leaf_nodes": 3}, r"\['max_leaf_nodes'\] of kind linear; allowed: C, max_iter, tol"),
        ({"kind": "boosted", "C": 3}, "of kind boosted; allowed: learning_rate"),
    ],
)
def test_an_unknown_setting_is_refused_with_those_that_exist(params: dict[str, Any], said: str, rows: pa.Table) -> None:
    with pytest.raises(ModelRefused, match=said):
        train(rows, "target", params, 7)
