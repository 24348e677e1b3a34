"""Names and values become numbers: the same numbers for one row as for many, before a JSON trip as after."""

import json
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftloop_models import Encoder, ModelRefused, RowsRefused, Style, columns_of

SMALL = pa.table({"wind": [1.0, 3.0, None], "origin": ["JFK", None, "EWR"], "storm": [True, False, True]})
KINDS: dict[str, Any] = {"wind": "number", "origin": "category", "storm": "boolean"}
ONE_HOT = Encoder.fit(SMALL, KINDS, "one_hot")
ORDINAL = Encoder.fit(SMALL, KINDS, "ordinal")


def test_one_hot_scales_numbers_flags_the_missing_and_gives_each_value_a_column() -> None:
    scaled_storm = (1 - 2 / 3) / np.std([1, 0, 1])
    assert ONE_HOT.matrix({"wind": [3.0], "origin": ["JFK"], "storm": [True]}).tolist() == [
        [1.0, scaled_storm, 0.0, 0.0, 1.0, 0.0]  # wind, storm, wind missing, EWR, JFK, origin missing
    ]


def test_a_missing_number_is_the_median_and_its_own_column() -> None:
    assert ONE_HOT.matrix({"wind": [None], "origin": [None], "storm": [None]})[0, [0, 2, 5]].tolist() == [0.0, 1.0, 1.0]


def test_an_unseen_category_is_all_zeros_in_one_hot() -> None:
    assert not ONE_HOT.matrix({"wind": [2.0], "origin": ["SWF"], "storm": [True]})[0, 3:].any()


def test_ordinal_codes_are_places_among_the_sorted_values_unseen_is_minus_one_missing_is_nan() -> None:
    codes = ORDINAL.matrix({"wind": [1.0] * 4, "origin": ["EWR", "JFK", "SWF", None], "storm": [False] * 4})[:, 1]
    assert codes[:3].tolist() == [0.0, 1.0, -1.0]
    assert math.isnan(codes[3])


@pytest.mark.parametrize("nothing", [math.inf, -math.inf, math.nan, None])
def test_what_is_not_finite_is_missing(nothing: float | None) -> None:
    for encoder in (ONE_HOT, ORDINAL):
        given_nothing = encoder.matrix({"wind": [nothing], "origin": ["JFK"], "storm": [True]})
        absent = encoder.matrix({"origin": ["JFK"], "storm": [True]})
        assert np.array_equal(given_nothing, absent, equal_nan=True)


@pytest.mark.parametrize("style", ["one_hot", "ordinal"])
def test_lists_arrays_and_arrow_columns_give_one_matrix(
    style: Style, table: pa.Table, columns: dict[str, Any], features: dict[str, Any]
) -> None:
    encoder = Encoder.fit(table, features, style)
    as_arrays = {name: np.array(column, dtype=object) for name, column in columns.items()}
    arrow = pa.table({name: pa.array(column) for name, column in columns.items()})
    for other in (as_arrays, columns_of(arrow, features)):
        assert np.array_equal(encoder.matrix(columns), encoder.matrix(other), equal_nan=True)


@pytest.mark.parametrize("style", ["one_hot", "ordinal"])
def test_an_encoder_survives_json(style: Style, table: pa.Table, features: dict[str, Any]) -> None:
    encoder = Encoder.fit(table, features, style)
    assert Encoder.from_json(json.loads(json.dumps(encoder.to_json()))) == encoder


def test_the_dot_product_is_that_of_the_matrix(table: pa.Table, features: dict[str, Any], columns: Any) -> None:
    encoder = Encoder.fit(table, features, "one_hot")
    weights = np.random.default_rng(0).normal(size=encoder.width)
    assert np.allclose(encoder.dot(columns, weights), encoder.matrix(columns) @ weights, atol=1e-12)


def test_the_sparse_matrix_is_the_matrix(table: pa.Table, features: dict[str, Any], columns: Any) -> None:
    columns["origin"][0] = "SWF"
    encoder = Encoder.fit(table, features, "one_hot")
    assert np.array_equal(encoder.sparse(columns).toarray(), encoder.matrix(columns))
    with pytest.raises(ModelRefused, match="ordinal"):
        Encoder.fit(table, features, "ordinal").sparse(columns)


VALUES = st.fixed_dictionaries(
    {
        "wind": st.none() | st.floats(-50, 50),
        "origin": st.sampled_from(["EWR", "JFK", "SWF", None]),
        "storm": st.sampled_from([True, False, None]),
    }
)


@given(rows=st.lists(VALUES, min_size=1, max_size=30), seed=st.integers(0, 100))
def test_a_row_scores_the_same_to_the_last_bit_alone_as_in_a_batch(rows: list[dict[str, Any]], seed: int) -> None:
    weights = np.random.default_rng(seed).normal(size=ONE_HOT.width)
    together = ONE_HOT.dot({name: [row[name] for row in rows] for name in KINDS}, weights)
    alone = [ONE_HOT.dot({name: [row[name]] for name in KINDS}, weights)[0] for row in rows]
    assert together.tolist() == alone


def test_the_rarest_values_count_as_unseen() -> None:
    rows = pa.table({"dest": ["A"] * 5 + ["B"] * 3 + ["C"]})
    fields = [
        Encoder.fit(rows, {"dest": "category"}, "ordinal", **limit).fields[0].to_json()["values"]
        for limit in ({"min_count": 2}, {"max_categories": 1}, {})
    ]
    assert fields == [["A", "B"], ["A"], ["A", "B", "C"]]


def test_the_order_of_the_rows_does_not_decide_which_value_is_kept() -> None:
    kept = {
        Encoder.fit(pa.table({"dest": dest}), {"dest": "category"}, "ordinal", max_categories=1).fields[0]
        for dest in (["A", "B"], ["B", "A"])
    }
    assert len(kept) == 1


def test_text_in_a_number_is_refused_by_name() -> None:
    with pytest.raises(RowsRefused, match="'wind' is declared a number"):
        ONE_HOT.matrix({"wind": ["fast"], "origin": ["JFK"], "storm": [True]})


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(RowsRefused, match="wind 2, origin 1"):
        ONE_HOT.matrix({"wind": [1.0, 2.0], "origin": ["JFK"]})


def test_rows_without_a_declared_column_cannot_be_learnt_from() -> None:
    with pytest.raises(RowsRefused, match="no column for gust"):
        Encoder.fit(SMALL, {"gust": "number"}, "ordinal")


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (None, "expected an object"),
        ({"style": "hashing", "fields": []}, "style one_hot or ordinal"),
        ({"style": "ordinal", "fields": []}, "at least one field"),
        ({"style": "ordinal", "fields": [{"type": "number"}]}, "needs a name"),
        ({"style": "ordinal", "fields": [{"name": "a", "type": "text"}]}, "allowed: number, boolean, category"),
        ({"style": "ordinal", "fields": [{"name": "a", "type": "category", "values": ["x", "x"]}]}, "distinct"),
        ({"style": "ordinal", "fields": [{"name": "a", "type": "number", "fill": None}]}, "fill must be a finite"),
        (
            {"style": "ordinal", "fields": [{"name": "a", "type": "number", "fill": 0, "center": 0, "scale": 0}]},
            "scale must be above 0",
        ),
    ],
)
def test_a_document_that_is_no_encoder_is_refused_with_the_reason(document: Any, said: str) -> None:
    with pytest.raises(ModelRefused, match=said):
        Encoder.from_json(document)
