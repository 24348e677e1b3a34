"""The loaded models. A new version answers once it is verified, loaded and warm; until then the old one does.

Bytes are fetched by digest and verified by the artifact store, loaded by `driftloop_models` (which runs no code of
their author) and scored once, all outside the event loop. Then one reference is swapped.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

import driftloop_models
from driftloop_artifacts import ArtifactError, BadDigest, StoreUnavailable
from driftloop_models import ModelRefused, RowsRefused
from serving.domain.rollout import Loaded, Model, Plan, Shown, Wanted
from serving.ports import Artifacts, Counts

MAX_MODEL_BYTES: Final = 256 << 20
# Each load may hold a model twice in memory, as bytes and as arrays.
LOADS_AT_ONCE: Final = 2
FIRST_RETRY_S: Final = 0.2
# An artifact that was lost is put again by a person: nobody waits for less than this.
LAST_RETRY_S: Final = 15.0

LoadModel = Callable[[bytes], Model]


@dataclass(slots=True)
class _Place:
    """One model's place on the shelf."""

    wanted: Plan
    shown: Shown | None = None
    errors: dict[str, str] = field(default_factory=dict)
    """By version, what keeps it from being loaded."""
    unreachable: bool = False
    """The store did not answer: nothing is known about the artifact."""
    tried: int = 0
    """The newest revision of which every load was tried."""
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    busy: bool = False


def load_table_model(data: bytes) -> Model:
    """The model in the bytes of an artifact. Raises ModelRefused for anything that `driftloop_models.save` did not write."""
    return driftloop_models.load(data, max_bytes=MAX_MODEL_BYTES)


class Shelf:
    """Loads what deployments want, and shows what is loaded."""

    def __init__(self, artifacts: Artifacts, counts: Counts, load: LoadModel = load_table_model) -> None:
        self._artifacts = artifacts
        self._counts = counts
        self._load = load
        self.changed: Callable[[], None] = _nobody_listens
        """Called whenever `pending` may say something else."""
        self._places: dict[str, _Place] = {}
        self._moved: asyncio.Queue[str] = asyncio.Queue()
        self._loading = asyncio.Semaphore(LOADS_AT_ONCE)

    def want(self, plan: Plan) -> bool:
        """The plan will be shown once its champion is warm. False for a revision that is not newer: nothing changes."""
        place = self._places.get(plan.model)
        if place is None:
            self._places[plan.model] = _Place(plan)
        elif plan.revision <= place.wanted.revision:
            return False
        else:
            place.wanted = plan
            place.moved.set()
        self._moved.put_nowait(plan.model)
        self.changed()
        return True

    def shown(self, model: str) -> Shown | None:
        """What answers of the model, or None where nothing was loaded yet."""
        place = self._places.get(model)
        return place.shown if place else None

    def errors(self, model: str) -> dict[str, str]:
        """By version, why it is not loaded."""
        place = self._places.get(model)
        return dict(place.errors) if place else {}

    def models(self) -> list[str]:
        """Every model that a deployment named."""
        return sorted(self._places)

    def pending(self) -> list[str]:
        """Models whose newest deployment was not tried yet, or whose champion waits for a store that is away."""
        return sorted(
            name
            for name, place in self._places.items()
            if place.tried < place.wanted.revision or (place.unreachable and not _answers(place))
        )

    async def run(self) -> None:
        """Keeps what is shown in step with what is wanted, until it is cancelled."""
        async with asyncio.TaskGroup() as settling:
            while True:
                place = self._places[await self._moved.get()]
                if not place.busy:
                    place.busy = True
                    settling.create_task(self._settle(place))

    async def _settle(self, place: _Place) -> None:
        """Tries until the wanted plan is shown whole, or can't be; a newer plan starts it anew."""
        delay_s = FIRST_RETRY_S
        while True:
            place.moved.clear()
            plan = place.wanted
            again = await self._try(place, plan)
            if plan is not place.wanted:
                delay_s = FIRST_RETRY_S
            elif not again:
                break
            elif await _happens(place.moved, random.uniform(0.5, 1.0) * delay_s):
                delay_s = FIRST_RETRY_S
            else:
                delay_s = min(2 * delay_s, LAST_RETRY_S)
        # No await since the comparison above: a plan that comes after this line finds nobody busy.
        place.busy = False

    async def _try(self, place: _Place, plan: Plan) -> bool:
        """Every version of the plan was tried once; whether trying again may help."""
        loaded, errors, again, unreachable = _kept(place, plan), {}, False, False
        for wanted in plan.wanted:
            if plan is not place.wanted:
                return True
            if wanted.digest not in loaded:
                try:
                    loaded[wanted.digest] = await self._fetch(wanted)
                    self._counts.add("loaded", plan.model, wanted.version)
                except (ArtifactError, BadDigest, ModelRefused) as reason:
                    errors[wanted.version] = str(reason)
                    again |= isinstance(reason, ArtifactError)
                    unreachable |= isinstance(reason, StoreUnavailable)
                    self._counts.add("load_failed", plan.model, f"{wanted.version}: {type(reason).__name__}")
            if plan.champion is None or plan.champion.digest in loaded:
                place.shown = _arranged(plan, loaded)
        place.errors, place.tried, place.unreachable = errors, plan.revision, unreachable
        self.changed()
        return again

    async def _fetch(self, wanted: Wanted) -> Loaded:
        data = await self._artifacts.get(wanted.digest, max_bytes=MAX_MODEL_BYTES)
        async with self._loading:
            model = await asyncio.to_thread(_warmed, self._load, data, wanted)
        return Loaded(wanted.version, wanted.digest, model, tuple(model.features))


def _warmed(load: LoadModel, data: bytes, wanted: Wanted) -> Model:
    """The model, having answered at least one row. Raises ModelRefused when it does not answer as it must."""
    model = load(data)
    try:
        for row in wanted.golden or ({"features": dict.fromkeys(model.features)},):
            # What was missing then is absent on the wire.
            score = model.score({name: [row["features"].get(name)] for name in model.features})[0]
            if not np.isfinite(score).all():
                raise ModelRefused(f"version {wanted.version}: a warm-up row scored {score}")
            if "score" in row and not np.allclose(score, row["score"], rtol=0.0, atol=1e-9):
                raise ModelRefused(
                    f"version {wanted.version}: a golden row scored {score}, when trained {row['score']}"
                )
    except RowsRefused as reason:
        raise ModelRefused(f"version {wanted.version}: {reason}") from reason
    return model


def _kept(place: _Place, plan: Plan) -> dict[str, Loaded]:
    """What is on the shelf already, by digest: a challenger that becomes champion is not loaded twice."""
    if place.shown is None:
        return {}
    held = (place.shown.version(wanted.version) for wanted in place.shown.plan.wanted)
    every = {one.digest: one for one in held if one is not None}
    return {wanted.digest: every[wanted.digest] for wanted in plan.wanted if wanted.digest in every}


def _arranged(plan: Plan, loaded: dict[str, Loaded]) -> Shown:
    """The plan, with what is loaded of it."""

    def named(wanted: Wanted) -> Loaded:
        one = loaded[wanted.digest]
        # The same bytes may be registered twice: the version that was asked for is the one that answers.
        return one if one.version == wanted.version else Loaded(wanted.version, one.digest, one.model, one.features)

    return Shown(
        plan,
        named(plan.champion) if plan.champion else None,
        tuple((named(wanted), share) for wanted, share in plan.canaries if wanted.digest in loaded),
        tuple((named(wanted), until) for wanted, until in plan.shadows if wanted.digest in loaded),
    )


def _nobody_listens() -> None:
    return None


def _answers(place: _Place) -> bool:
    return place.shown is not None and place.shown.champion is not None


async def _happens(event: asyncio.Event, within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
