"""Bytes that are no model of ours are refused with the reason, and nothing of theirs runs."""

import io
import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer

from driftloop_models import ModelRefused, TableModel, digest_of, load, save
from driftloop_models.zips import members, pack

Models = Callable[..., TableModel]
LIMIT = 1 << 20


def with_part(data: bytes, name: str, content: bytes | None) -> bytes:
    """The archive with one part replaced, or without it."""
    inside = {**members(data), name: content}
    return pack({part: body for part, body in inside.items() if body is not None})


def with_document(data: bytes, **changes: Any) -> bytes:
    document = json.loads(members(data)["model.json"]) | changes
    return with_part(data, "model.json", json.dumps(document).encode())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "nothing at all"),
        (b"model", "no zip archive"),
        (pickle.dumps({"a": 1}), "a pickle, which is never loaded"),
        (b"PK\x03\x04broken", "not a readable zip"),
        (pack({"weights.pkl": b""}), "lacks model.json"),
        (pack({"model.json": b"{", "linear.json": b"{}"}), "no JSON"),
        (pack({"model.json": b"{}", "linear.json": b"{}"}), "does not say format"),
        (pack({"model.json": b"{}", "linear.json": b"{}", "estimator.skops": b""}), "one of"),
        (pack({"model.json": b"{}", "estimator.joblib": b""}), "one of linear.json, estimator.skops"),
    ],
)
def test_foreign_bytes_are_refused_in_words(data: bytes, said: str) -> None:
    with pytest.raises(ModelRefused, match=said):
        load(data, max_bytes=LIMIT)


def test_more_bytes_than_allowed_are_not_even_opened(a_model: Models) -> None:
    data = save(a_model())
    with pytest.raises(ModelRefused, match=f"{len(data)} bytes; allowed: {len(data) - 1}"):
        load(data, max_bytes=len(data) - 1)


def test_a_flipped_bit_changes_the_digest(a_model: Models) -> None:
    data = save(a_model())
    flipped = bytes([*data[:100], data[100] ^ 1, *data[101:]])
    assert digest_of(flipped) != digest_of(data)


def test_what_could_inflate_is_refused(a_model: Models) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.json", b"0" * 10_000_000)
    with pytest.raises(ModelRefused, match="compressed"):
        load(buffer.getvalue(), max_bytes=LIMIT)


def test_paths_and_twins_are_refused() -> None:
    for names, said in ((["../model.json"], "path"), (["model.json", "model.json"], "two parts of one name")):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name in names:
                archive.writestr(name, b"{}") if name not in archive.namelist() else _twin(archive, name)
        with pytest.raises(ModelRefused, match=said):
            load(buffer.getvalue(), max_bytes=LIMIT)


def _twin(archive: zipfile.ZipFile, name: str) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(name, b"{}")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format_version": 2}, "format_version 2; allowed: 1"),
        ({"task": "ranking"}, "task 'ranking'; allowed"),
        ({"classes": [0]}, "do not fit task binary"),
        ({"classes": "01"}, "classes must be a list"),
        ({"run_me": "os.system"}, "run_me"),
        ({"encoder": {"style": "one_hot", "fields": [{"name": "a", "type": "category", "values": ["x"]}]}}, "columns"),
    ],
)
def test_a_changed_document_is_refused(changes: dict[str, Any], said: str, a_model: Models) -> None:
    with pytest.raises(ModelRefused, match=said):
        load(with_document(save(a_model()), **changes), max_bytes=LIMIT)


@pytest.mark.parametrize(
    ("linear", "said"),
    [
        ({"coef": [[1.0]], "intercept": [0.0]}, "columns"),
        ({"coef": [1.0], "intercept": [0.0]}, "do not fit"),
        ({"coef": [["x"]], "intercept": [0.0]}, "linear.json"),
        ({"coef": [[1.0], [1.0, 2.0]], "intercept": [0.0]}, "linear.json"),
        ({"weights": []}, "coef and intercept"),
    ],
)
def test_coefficients_that_do_not_fit_are_refused(linear: Any, said: str, a_model: Models) -> None:
    with pytest.raises(ModelRefused, match=said):
        load(with_part(save(a_model()), "linear.json", json.dumps(linear).encode()), max_bytes=LIMIT)


def test_coefficients_that_are_not_finite_are_refused(a_model: Models) -> None:
    width = a_model().encoder.width
    linear = '{"coef": [[' + ", ".join(["NaN"] * width) + ']], "intercept": [0.0]}'
    with pytest.raises(ModelRefused, match="finite"):
        load(with_part(save(a_model()), "linear.json", linear.encode()), max_bytes=LIMIT)


@pytest.mark.parametrize(
    ("smuggled", "said"),
    [
        (LogisticRegression().fit([[0.0], [1.0]], [0, 1]), "LogisticRegression"),
        (RandomForestClassifier(n_estimators=1).fit([[0.0], [1.0]], [0, 1]), "RandomForestClassifier"),
        (FunctionTransformer(np.exp), "FunctionTransformer"),
        ({"a": [1, 2]}, "holds dict"),
    ],
    ids=["linear", "forest", "function", "dict"],
)
def test_skops_files_of_anything_else_are_refused(smuggled: Any, said: str, a_model: Models) -> None:
    data = with_part(save(a_model(boosted=True)), "estimator.skops", skops.io.dumps(smuggled))
    with pytest.raises(ModelRefused, match=said):
        load(data, max_bytes=LIMIT)


def test_boosted_trees_with_a_pipeline_inside_cannot_even_be_saved(a_model: Models) -> None:
    model = a_model(boosted=True)
    matrix = np.column_stack([np.arange(40) % 4] * model.encoder.width).astype(float)
    fitted = HistGradientBoostingClassifier(max_iter=2, categorical_features=[0]).fit(matrix, [0, 1] * 20)
    with pytest.raises(ModelRefused, match="ordinal codes, no categorical_features"):
        save(TableModel(model.encoder, fitted, "binary", (0, 1)))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("left", 4_000_000_000, "left child lies outside"),
        ("right", 0, "right child lies outside"),
        ("feature_idx", 99, "feature that the model does not have"),
        ("is_categorical", 1, "feature that the model does not have"),
        ("value", np.inf, "not finite"),
    ],
)
def test_trees_that_lead_nowhere_are_refused(field: str, value: Any, said: str, a_model: Models) -> None:
    model = a_model(boosted=True)
    data = save(model)
    estimator: Any = model.estimator
    estimator._predictors[3][0].nodes[field][0] = value
    crafted = with_part(data, "estimator.skops", skops.io.dumps(estimator))
    with pytest.raises(ModelRefused, match=said):
        load(crafted, max_bytes=LIMIT)


def test_an_array_that_promises_more_than_it_holds_is_refused(a_model: Models) -> None:
    data = save(a_model(boosted=True))
    skops_file = members(data)["estimator.skops"]
    arrays = members(skops_file)
    name = next(name for name in arrays if name.endswith(".npy"))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 50,)})
    data = with_part(data, "estimator.skops", with_part(skops_file, name, header.getvalue()))
    with pytest.raises(ModelRefused, match="promises 9007199254740992 bytes"):
        load(data, max_bytes=LIMIT)


def test_any_single_flipped_byte_is_refused_or_harmless(a_model: Models, columns: Any) -> None:
    """The digest catches it first; this is what stands behind."""
    data = save(a_model(boosted=True, rows=60))
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(data), 150):
        flipped = bytearray(data)
        flipped[at] ^= 1 << int(rng.integers(8))
        try:
            scores = load(bytes(flipped), max_bytes=LIMIT).score(columns)
        except ModelRefused:
            continue
        assert len(scores) == len(columns["wind"])


def test_a_process_that_serves_linear_models_imports_neither_scikit_learn_nor_skops(a_model: Models) -> None:
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, driftloop_models\n"
            "driftloop_models.load(sys.stdin.buffer.read(), max_bytes=1 << 20).score({'wind': [3.0]})\n"
            "print([name for name in ('sklearn', 'skops', 'scipy') if name in sys.modules])",
        ],
        input=save(a_model()),
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert told.stdout.strip() == b"[]"
