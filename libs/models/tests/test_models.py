"""What scikit-learn fitted is what is stored, loaded and answered."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression

from driftloop_models import (
    Encoder,
    Linear,
    ModelRefused,
    TableModel,
    Task,
    check_golden,
    columns_of,
    golden,
    load,
    save,
    wrap,
)

Models = Callable[..., TableModel]
BOTH = pytest.mark.parametrize("boosted", [False, True], ids=["linear", "boosted"])
EVERY_TASK = pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])


@pytest.mark.parametrize(("task", "target"), [("binary", "late"), ("multiclass", "kind")])
def test_a_linear_model_in_numpy_answers_as_scikit_learn_does(
    task: Task, target: str, table: pa.Table, features: dict[str, Any], columns: Any
) -> None:
    encoder = Encoder.fit(table, features, "one_hot")
    fitted = LogisticRegression(max_iter=500).fit(
        encoder.matrix(columns_of(table, features)), table[target].to_pylist()
    )
    model = TableModel(encoder, Linear.of(fitted), task, tuple(fitted.classes_.tolist()))
    assert np.allclose(model.predict_proba(columns), fitted.predict_proba(encoder.matrix(columns)), atol=1e-12)
    assert model.predict(columns).tolist() == fitted.predict(encoder.matrix(columns)).tolist()


@BOTH
@EVERY_TASK
def test_a_loaded_model_answers_to_the_last_bit_what_the_saved_one_did(
    task: Task, boosted: bool, a_model: Models, columns: Any
) -> None:
    model = a_model(task, boosted=boosted)
    again = load(save(model), max_bytes=1 << 20)
    assert np.array_equal(model.score(columns), again.score(columns))
    assert model.predict(columns).tolist() == again.predict(columns).tolist()
    assert again.features == model.features


@BOTH
@EVERY_TASK
def test_the_same_model_gives_the_same_bytes(task: Task, boosted: bool, a_model: Models) -> None:
    first, second = save(a_model(task, boosted=boosted)), save(a_model(task, boosted=boosted))
    assert first == second
    assert save(load(first, max_bytes=1 << 20)) == first


def test_another_model_gives_other_bytes(a_model: Models) -> None:
    assert save(a_model(seed=1)) != save(a_model(seed=2))


@BOTH
@EVERY_TASK
def test_golden_rows_come_out_again(task: Task, boosted: bool, a_model: Models, columns: Any) -> None:
    model = a_model(task, boosted=boosted)
    check_golden(load(save(model), max_bytes=1 << 20), golden(model, columns))


def test_another_models_golden_rows_do_not_come_out(a_model: Models, columns: Any) -> None:
    with pytest.raises(ModelRefused, match="golden row 0"):
        check_golden(a_model(seed=1), golden(a_model(seed=2), columns))


def test_golden_rows_carry_plain_values_and_null_for_missing(a_model: Models, table: pa.Table) -> None:
    model = a_model()
    from_arrays = golden(model, columns_of(table, model.features), rows=40)
    assert any(value is None for row in from_arrays for value in row["features"].values())
    check_golden(model, from_arrays)


def test_outcomes_become_places_among_the_classes(a_model: Models) -> None:
    assert a_model("multiclass").places(["lost", "early"]).tolist() == [2.0, 0.0]
    with pytest.raises(ModelRefused, match="landed"):
        a_model("multiclass").places(["landed"])


def test_a_model_whose_parts_do_not_fit_is_refused(a_model: Models) -> None:
    binary, other = a_model(), a_model("multiclass")
    with pytest.raises(ModelRefused, match="3 outputs; binary needs 1"):
        TableModel(binary.encoder, other.estimator, "binary", (0, 1))
    with pytest.raises(ModelRefused, match="classes"):
        TableModel(binary.encoder, binary.estimator, "binary", (0, 0))
    with pytest.raises(ModelRefused, match="one_hot"):
        TableModel(a_model(boosted=True).encoder, binary.estimator, "binary", (0, 1))


class TestWhatATrainFunctionReturned:
    def test_a_table_model_is_taken_as_it_is(self, a_model: Models, features: Any, columns: Any) -> None:
        model = a_model()
        assert wrap(model, features, task="binary", classes=(0, 1), sample=columns) is model

    def test_a_bare_estimator_on_numbers_is_read_in_declared_order(self) -> None:
        matrix = np.random.default_rng(0).normal(size=(50, 2))
        fitted = LinearRegression().fit(matrix, matrix @ [2.0, -1.0] + 3)
        model = wrap(fitted, {"wind": "number", "gust": "number"}, task="regression")
        assert model.score({"gust": [1.0], "wind": [5.0]}) == pytest.approx([12.0])

    def test_bare_boosted_trees_keep_missing_as_missing(self) -> None:
        matrix = np.random.default_rng(0).normal(size=(200, 2))
        fitted = HistGradientBoostingClassifier(max_iter=5).fit(matrix, matrix[:, 0] > 0)
        model = wrap(fitted, {"wind": "number", "gust": "number"}, task="binary", classes=(False, True))
        expected = fitted.predict_proba([[np.nan, 1.0]])[0, 1]
        assert model.score({"wind": [None], "gust": [1.0]}) == [expected]

    def test_an_estimator_comes_with_the_encoder_that_made_its_matrix(self, table: pa.Table, features: Any) -> None:
        encoder = Encoder.fit(table, features, "one_hot")
        fitted = LogisticRegression(max_iter=500).fit(
            encoder.matrix(columns_of(table, features)), table["late"].to_numpy()
        )
        assert wrap(fitted, features, task="binary", encoder=encoder).classes == (0, 1)

    @pytest.mark.parametrize(
        ("returned", "said"),
        [
            (None, "returned None"),
            ("a model", "returned str; allowed: TableModel, LogisticRegression"),
            (LogisticRegression(), "not fitted"),
            (HistGradientBoostingClassifier(), "not fitted"),
            (RandomForestClassifier(), "RandomForestClassifier; allowed"),
        ],
    )
    def test_what_is_no_model_is_refused_with_the_reason(self, returned: Any, said: str) -> None:
        with pytest.raises(ModelRefused, match=said):
            wrap(returned, {"wind": "number"}, task="binary")

    def test_categories_need_an_encoder(self) -> None:
        fitted = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
        with pytest.raises(ModelRefused, match="categories origin"):
            wrap(fitted, {"origin": "category"}, task="binary")

    def test_other_features_classes_or_tasks_than_declared_are_refused(self, a_model: Models, features: Any) -> None:
        model = a_model()
        with pytest.raises(ModelRefused, match="visibility"):
            wrap(model, {**features, "visibility": "number"}, task="binary")
        with pytest.raises(ModelRefused, match=r"classes are \[0, 1\], the target's \[1, 2\]"):
            wrap(model, features, task="binary", classes=(1, 2))
        with pytest.raises(ModelRefused, match="binary model, the declaration says regression"):
            wrap(model, features, task="regression")

    def test_one_class_only_is_refused(self) -> None:
        fitted = HistGradientBoostingClassifier(max_iter=2).fit([[0.0], [1.0]] * 20, [1] * 40)
        with pytest.raises(ModelRefused, match="classes"):
            wrap(fitted, {"wind": "number"}, task="binary")

    def test_predictions_that_are_not_finite_are_refused(self) -> None:
        model = wrap(LinearRegression().fit([[0.0], [1.0]], [0.0, 1e10]), {"wind": "number"}, task="regression")
        wrap(model, {"wind": "number"}, task="regression", sample={"wind": [1.0]})
        with pytest.raises(ModelRefused, match="1 of 2 predictions are not finite"):
            wrap(model, {"wind": "number"}, task="regression", sample={"wind": [1.0, 1e308]})
