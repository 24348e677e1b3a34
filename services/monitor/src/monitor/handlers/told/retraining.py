"""Retrains: asked for, held back, refused."""

from __future__ import annotations

from collections.abc import Mapping

from driftloop_contracts import Event, caused
from driftloop_contracts.control_plane import CommandGiven, CommandRefused, DeploymentChanged
from driftloop_contracts.loop import OffsetRange, RetrainRequested, RetrainSuppressed, TrainingWindow
from monitor.domain.policy import Ask, Held
from monitor.domain.rules import Rules
from monitor.handlers.heard import cause_of, moment_of, us_of
from monitor.ports import Place

Offsets = Mapping[Place, int]


def requested(
    model: str, deployment: DeploymentChanged | None, rules: Rules, ask: Ask, offsets: Offsets
) -> Event[RetrainRequested]:
    """A retrain on what arrived until then. Its bar is the champion's."""
    data = _request(model, deployment, rules, ask.at_us, offsets)
    data = data.model_copy(update={"incident": ask.incident, "reason": ask.reason, "attempt": ask.attempt})
    return caused(data, cause_of(ask.cause), f"attempt:{ask.attempt}", time=moment_of(ask.at_us))


def commanded(
    command: Event[CommandGiven], deployment: DeploymentChanged | None, rules: Rules, offsets: Offsets
) -> Event[RetrainRequested]:
    """A retrain that a person asked for: at the command's time, on what arrived until the time that it names."""
    given = command.data
    reason = f"asked for by {given.given_by}" + (f": {given.reason}" if given.reason else "")
    data = _request(given.model, deployment, rules, us_of(given.until or command.time), offsets)
    return caused(data.model_copy(update={"reason": reason}), command.as_cause())


def refused(command: Event[CommandGiven], reason: str) -> Event[CommandRefused]:
    """The command will not be carried out."""
    data = CommandRefused(model=command.data.model, command=command.data.command, reason=reason)
    return caused(data, command.as_cause(), time=command.time)


def suppressed(model: str, version: str | None, held: Held) -> Event[RetrainSuppressed]:
    """A retrain was due and is not asked for."""
    data = RetrainSuppressed(model=model, version=version, incident=held.incident, reason=held.reason)
    return caused(data, cause_of(held.cause), f"attempt:{held.attempt}:{held.name}", time=moment_of(held.at_us))


def ranges(offsets: Offsets) -> list[OffsetRange]:
    """From each partition's first record to the offsets."""
    return [
        OffsetRange(topic=topic, partition=partition, start=0, end=end)
        for (topic, partition), end in sorted(offsets.items())
    ]


def _request(
    model: str, deployment: DeploymentChanged | None, rules: Rules, until_us: int, offsets: Offsets
) -> RetrainRequested:
    champion = deployment.champion if deployment else None
    since = moment_of(until_us - rules.train_window_us) if rules.train_window_us else None
    return RetrainRequested(
        model=model,
        version=champion.version if champion else None,
        reason="",
        window=TrainingWindow(since=since, until=moment_of(until_us), offsets=ranges(offsets)),
        loss_to_beat=champion.loss_to_hold if champion else None,
        ceiling=deployment.ceiling if deployment else None,
    )
