"""Entities that are observed, some of them again: what each must be worth in the end is known by its number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
from tests.first_version import first_version

from driftloop_artifacts import ArtifactStore
from driftloop_bus.codec import encode
from driftloop_bus.ports import Outgoing
from driftloop_contracts import AnyEvent, first
from driftloop_contracts.control_plane import ViewDeclared
from driftloop_contracts.data_plane import ObservationMade
from driftloop_contracts.documents import ModelDeclaration, ViewDeclaration
from driftloop_models import Encoder, Linear, TableModel, save
from driftloop_models.fields import NumberField

VIEW: Final = "customers"
MODEL: Final = "worth"
START: Final = datetime(2013, 6, 15, tzinfo=UTC)
# Of ten entities one comes again with a newer value, one with an older, which must not win.
OF: Final = 10
AGAIN_NEWER: Final = 0
AGAIN_OLDER: Final = 5
MORE: Final = 1_000_000.0
# What an entity's row in Postgres must hold; `n` is its number.
WRONG_ROWS: Final = f"""
SELECT count(*) FROM (SELECT substr(entity, 2)::int AS n, (values->>'spend')::float8 AS spend FROM online) AS kept
WHERE spend <> n * 0.5 + CASE WHEN n % {OF} = {AGAIN_NEWER} THEN $1 ELSE 0 END
"""
_NEWER: Final = timedelta(hours=1)


def entity(number: int) -> str:
    """Its name."""
    return f"e{number:07d}"


def worth(number: int, again: bool) -> float:
    """The newest value of its `spend`; again: after those that come again have come."""
    return number * 0.5 + (MORE if again and number % OF == AGAIN_NEWER else 0.0)


def observed(numbers: Iterable[int]) -> list[Outgoing]:
    """Each entity for the first time."""
    return [_observed(number, number * 0.5, START, "first") for number in numbers]


def observed_again(keys: int) -> list[Outgoing]:
    """Those that come again."""
    newer = [_observed(n, n * 0.5 + MORE, START + _NEWER, "newer") for n in range(AGAIN_NEWER, keys, OF)]
    return newer + [_observed(n, -1.0, START - _NEWER, "older") for n in range(AGAIN_OLDER, keys, OF)]


async def declared(artifacts: str) -> Sequence[AnyEvent]:
    """The view, and a model that answers with twice an entity's `spend`."""
    fields = (NumberField("spend", "number", fill=0.0, center=0.0, scale=1.0, flagged=False),)
    table = TableModel(Encoder("one_hot", fields), Linear(np.array([[2.0]]), np.zeros(1)), "regression", ())
    digest = str(await ArtifactStore.open(artifacts).put(save(table)))
    view = ViewDeclaration(
        view=VIEW,
        entity="customer",
        features={"spend": "number", "visits": "number", "city": "category", "vip": "boolean"},
    )
    document = ModelDeclaration.model_validate({
        "model": MODEL, "owner": "ops", "task": "regression", "train": {"entry": "keys:train"},
        "features": {"spend": {"type": "number", "view": VIEW, "entity": "customer"}},
    })  # fmt: skip
    declared, deployed = first_version(document, digest, {"spend": "number"}, START)
    return [
        first(ViewDeclared(view=VIEW, document=view, digest="sha256:0", applied_by="ops"), id="view", time=START),
        first(declared, id="model", time=START),
        first(deployed, id="deployed", time=START),
    ]


def _observed(number: int, spend: float, time: datetime, which: str) -> Outgoing:
    values: dict[str, Any] = {
        "spend": spend,
        "visits": number % 97,
        "city": f"city-{number % 1_000}",
        "vip": number % 3 == 0,
    }
    made = ObservationMade(view=VIEW, entity=entity(number), values=values, time=time)
    return encode(first(made, id=f"{which}-{number}", time=time), "outside")
