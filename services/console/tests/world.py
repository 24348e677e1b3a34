"""A month of one model, as its services would have told it: alarm, retrain, trial, promotion."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from driftloop_contracts import AnyEvent, Fact, caused, first
from driftloop_contracts.control_plane import CommandGiven, DeploymentChanged, ModelDeclared, VersionRegistered
from driftloop_contracts.loop import (
    CandidateTrained,
    ChallengerJudged,
    DatasetBuilt,
    DatasetRequested,
    DriftCleared,
    DriftDetected,
    MeasurementTaken,
    RetrainRequested,
)

EXAMPLES: Final = Path(__file__).parents[3] / "contracts" / "examples"
START: Final = datetime(2013, 6, 15, 5, tzinfo=UTC)
RECORDED: Final = datetime(2030, 1, 1, tzinfo=UTC)
OUTCOME: Final = "5f0b6e0a-0000-5000-8000-00000000007e"
F = TypeVar("F", bound=Fact)
Told = tuple[str, AnyEvent]
"""The service that writes it, and the event."""


def example(kind: type[F], **changed: Any) -> F:
    """The fact that the contracts show, with these fields."""
    data = json.loads((EXAMPLES / f"{kind.TYPE}.json").read_text())["data"]
    return kind.read(json.dumps(data | changed).encode())


def at(day: int, hour: int = 9) -> datetime:
    return START.replace(day=1, hour=hour) + timedelta(days=day - 1)


def served(version: str, **more: Any) -> dict[str, Any]:
    champion = example(DeploymentChanged).champion
    assert champion is not None
    return champion.model_dump(mode="json") | {"version": version} | more


def deployed(model: str, revision: int, reason: str, champion: str, since: datetime, **more: Any) -> DeploymentChanged:
    whole = {
        "model": model, "revision": revision, "reason": reason, "champion": served(champion, since=since.isoformat()),
        "challengers": [], "previous": None, **more,
    }  # fmt: skip
    return example(DeploymentChanged, **whole)


def declared(model: str) -> AnyEvent:
    document = example(ModelDeclared).document.model_dump(mode="json") | {"model": model}
    fact = example(ModelDeclared, model=model, document=document)
    return first(fact, id=f"{model}-declared", time=START)


def story(model: str) -> list[Told]:
    """From the declaration to the promotion, each event caused by the one before it."""
    return recorded(list(_story(model)))


def _story(model: str) -> Iterator[Told]:
    yield "registry", declared(model)
    asked = first(
        CommandGiven(model=model, command="retrain", given_by="ana", until=at(1), reason="the first champion"),
        id=f"{model}-asked", time=START,
    )  # fmt: skip
    yield "console", asked
    begun = caused(example(RetrainRequested, model=model, reason="ana asked for it", version=None), asked.as_cause())
    yield "monitor", begun
    one = caused(example(CandidateTrained, model=model, request_id=begun.id, gain=None, cpu_s=1.9), begun.as_cause())
    yield "retrainer", one
    live = caused(deployed(model, 1, "first", "1", START), one.as_cause())
    yield "registry", live
    alarm = replace(caused(example(DriftDetected, model=model), live.as_cause(), time=at(19)), causation=OUTCOME)
    yield "monitor", alarm
    wish = caused(
        example(RetrainRequested, model=model, reason="2,000 outcomes of the new world have arrived"),
        alarm.as_cause(),
        time=at(21),
    )
    yield "monitor", wish
    gather = caused(example(DatasetRequested, model=model, request_id=wish.id), wish.as_cause())
    yield "retrainer", gather
    rows = caused(example(DatasetBuilt, model=model, request_id=wish.id), gather.as_cause())
    yield "feature_store", rows
    two = caused(example(CandidateTrained, model=model, request_id=wish.id), rows.as_cause())
    yield "retrainer", two
    yield "registry", caused(example(VersionRegistered, model=model, version="2"), two.as_cause())
    rival = served(
        "2", since=at(21).isoformat(), mode="shadow", share=0.0, looks=[at(28).isoformat()], candidate=two.id
    )
    trial = caused(deployed(model, 2, "challenger", "1", START, challengers=[rival]), two.as_cause())
    yield "registry", trial
    look = caused(example(ChallengerJudged, model=model, look=1), trial.as_cause(), time=at(28))
    yield "monitor", look
    before = served("1", since=START.isoformat(), shadow_until=(at(28) + timedelta(days=28)).isoformat())
    promoted = caused(deployed(model, 3, "promoted", "2", at(28), previous=before), look.as_cause())
    yield "registry", promoted
    incident = alarm.data.incident
    over = DriftCleared(incident=incident, model=model, version="1", reason="another version answers now")
    yield "monitor", caused(over, promoted.as_cause())


def measurements(model: str, days: Sequence[int]) -> list[Told]:
    """Losses of both versions and of the floor, a window a day."""
    found = []
    for day in days:
        bump = 0.35 / (1 + math.exp(-(day - 18)))
        losses = {("1", "loss:log_loss"): 0.45 + bump, ("1", "loss:last_24h_rate"): 0.60 + 0.02 * math.sin(day)}
        if day > 21:
            losses["2", "loss:log_loss"] = 0.52 + 0.03 * math.sin(day)
            losses["2", "loss:brier"] = 0.171
        found += [measured(model, version, signal, day, mean) for (version, signal), mean in losses.items()]
    return recorded(found)


def measured(model: str, version: str, signal: str, day: int, mean: float) -> Told:
    fact = MeasurementTaken(
        model=model, version=version, signal=signal, n=900, mean=mean, window_start=at(day - 1), window_end=at(day)
    )
    return "monitor", first(fact, id=f"{model}-{version}-{signal}-{day}", time=at(day))


def recorded(events: list[Told]) -> list[Told]:
    """In this order, by the clocks of their writers."""
    return [
        (service, replace(event, source=f"/services/{service}", recorded_at=RECORDED + timedelta(seconds=place)))
        for place, (service, event) in enumerate(events)
    ]
