"""A flight model, its candidates and judgements, for the registry's tests."""

from datetime import UTC, datetime, timedelta
from typing import Any

from driftloop_contracts.control_plane import CommandGiven, LossToHold
from driftloop_contracts.event import AnyEvent, Event, first
from driftloop_contracts.loop import Backtest, CandidateTrained, ChallengerJudged
from registry.handlers import Registry
from registry.store.memory import MemoryAudit, MemoryChain, MemoryModels

MODEL = "flight-delay"
JUNE = datetime(2013, 6, 15, 5, tzinfo=UTC)
DAY = timedelta(days=1)


def document(**gate_or_rollout: Any) -> dict[str, Any]:
    """The declaration, with parts replaced."""
    return {
        "model": MODEL,
        "owner": "ops-team",
        "task": "binary",
        "features": {"distance": "number", "carrier": "category", "origin": "category"},
        "train": {"entry": "flights.train:train"},
        "gate": {"floors": ["last_24h_rate"], "slices": ["origin"], "max_latency_ms": 20},
    } | gate_or_rollout


def command(name: str, at: datetime = JUNE, **fields: Any) -> Event[CommandGiven]:
    """A person's command."""
    fact = CommandGiven(command=name, model=fields.pop("model", MODEL), given_by="anna", **fields)
    return first(fact, id=f"command-{name}-{at.isoformat()}-{sorted(fields)}", time=at)


def candidate(
    name: str,
    at: datetime = JUNE,
    mean: float = 0.15,
    interval: tuple[float, float] | None = (0.14, 0.16),
    **fields: Any,
) -> Event[CandidateTrained]:
    """A trained version."""
    loss = LossToHold(loss="brier", n=9000, mean=mean, interval=interval)
    defaults: dict[str, Any] = {
        "model": MODEL, "request_id": f"request-of-{name}", "artifact_digest": f"sha256:{name:0>64}", "artifact_format": "table/1",
        "artifact_bytes": 1000, "features": {"distance": "number", "carrier": "category", "origin": "category"},
        "dataset_digest": "sha256:d", "reference_digest": "sha256:r", "code_digest": "sha256:c",
        "environment_digest": "sha256:e", "seed": 7, "rows": 50_000, "gate_loss": "log_loss",
        "backtest": Backtest(loss_to_hold=loss), "cpu_s": 2.2, "latency_ms": 0.5,
    }  # fmt: skip
    return first(CandidateTrained(**defaults | fields), id=name, time=at)


def better(name: str, at: datetime = JUNE + 6 * DAY, **fields: Any) -> Event[CandidateTrained]:
    """A version that beats version 1 on the back-test."""
    better_than_first: dict[str, Any] = {"gain": 0.1, "incumbent_version": "1"}
    return candidate(name, at, **better_than_first | fields)


def judged(version: str, look: int, at: datetime, **fields: Any) -> Event[ChallengerJudged]:
    """A look at which everything speaks for the challenger."""
    defaults: dict[str, Any] = {
        "model": MODEL, "version": version, "champion": "1", "look": look, "of": 2, "since": JUNE + 6 * DAY, "until": at,
        "rows": 6000, "windows": 7, "loss": "log_loss", "gain": 0.27, "lower": 0.114, "resamples": 2000, "seed": 1,
        "champion_loss": 0.78, "challenger_loss": 0.57, "floors": {"last_24h_rate": 0.629}, "verdict": "better",
    }  # fmt: skip
    return first(ChallengerJudged(**defaults | fields), id=f"judged-{version}-{look}", time=at)


def a_registry(state: dict[Any, Any] | None = None) -> Registry:
    """The registry over a dict."""
    held = {} if state is None else state
    return Registry(MemoryModels(held), MemoryChain(held), MemoryAudit(held))


async def declared(**replaced: Any) -> Registry:
    """A registry to which the flight model was applied."""
    registry = a_registry()
    await registry.on_command_given(command("apply", document=document(**replaced)))
    return registry


async def with_challenger(**replaced: Any) -> Registry:
    """Version 1 answers, version 2 is compared with it since 21 June."""
    registry = await declared(**replaced)
    await registry.on_candidate_trained(candidate("first"))
    await registry.on_candidate_trained(better("second"))
    return registry


def told(events: list[AnyEvent]) -> list[str]:
    """What kinds of events these are, the audit's apart."""
    names = [type(event.data).__name__ for event in events]
    return [name for name in names if name != "AuditRecorded"]


def one(events: list[AnyEvent], kind: type) -> Any:
    """The fact of this kind: exactly one."""
    (found,) = [event.data for event in events if isinstance(event.data, kind)]
    return found
