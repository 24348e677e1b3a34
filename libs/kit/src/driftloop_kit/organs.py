"""What runs inside a service: its runner or tail, its relay, its workers."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from driftloop_bus.lag import Standing
from driftloop_bus.ports import TopicPartition
from driftloop_bus.quarantine import Trial
from driftloop_bus.relay import Relay
from driftloop_bus.routes import reads
from driftloop_bus.runner import Runner
from driftloop_bus.tail import Tail
from driftloop_contracts.topics import TOPICS
from driftloop_kit.ledger import PostgresLedger
from driftloop_kit.service import Context, Service
from driftloop_kit.workers import Workers

H = TypeVar("H")


@dataclass
class Organs(Generic[H]):
    """Each is there if the service has something for it to do."""

    runner: Runner[H] | None = None
    tail: Tail[Any] | None = None
    relay: Relay | None = None
    workers: Workers[H] | None = None

    @classmethod
    def of(cls, service: Service[H], context: Context[H], trial: Trial | None = None) -> Organs[H]:
        """Made and wired, not running. Raises LookupError or ValueError where routes contradict the catalogue."""
        organs: Organs[H] = cls()
        if service.tail is not None:
            routes, handlers = service.tail
            organs.tail = Tail(context.log, reads(service.name), routes, handlers, observe=context.telemetry.note)
            context.positions = organs.tail.positions
        if context.ledger is not None and service.handlers is not None:
            organs._keep(service, context, context.ledger, trial)
        return organs

    def _keep(self, service: Service[H], context: Context[H], ledger: PostgresLedger, trial: Trial | None) -> None:
        assert service.handlers is not None
        observe = context.telemetry.note
        written = [topic.name for topic in TOPICS if topic.may_write(service.name)]
        relay = Relay(context.log, ledger.outbox, topics=written, observe=observe)
        runner = Runner(
            service.name,
            service.name,
            context.log,
            ledger,
            service.handlers,
            service.routes,
            wake=relay.wake,
            observe=observe,
            trial=trial,
        )
        workers = Workers(context, ledger, service.handlers, service.jobs, context.telemetry)
        ledger.listen(rows=relay.wake, jobs=workers.wake)
        context.positions, context.reader = runner.positions, runner
        self.relay, self.runner, self.workers = relay, runner, workers

    def all_runs(self) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
        """Everything that must run, by name."""
        for name in (*self.names(), "relay"):
            if (organ := getattr(self, name)) is not None:
                yield name, organ.run()

    def names(self) -> tuple[str, ...]:
        """Those that stop first; the relay comes after them."""
        return ("runner", "tail", "workers")

    def stop(self) -> None:
        """They finish what they are at; the relay goes on."""
        for name in self.names():
            if (organ := getattr(self, name)) is not None:
                organ.stop()

    def waiting_for(self) -> str | None:
        """Why nothing comes in, for people."""
        for organ in (self.runner, self.tail):
            if organ is not None and organ.waiting_for:
                return organ.waiting_for
        return None

    def has_begun(self) -> bool:
        """Whether something of the log is ours already: what it waits for now is no matter of starting any more."""
        return self.runner is not None and bool(self.runner.positions())

    def standings(self) -> dict[TopicPartition, Standing]:
        """Where each partition that is read here stands."""
        return {place: one for organ in (self.runner, self.tail) if organ for place, one in organ.standings().items()}

    def unsent(self) -> str | None:
        """Why nothing goes out, for people."""
        return self.relay.waiting_for if self.relay else None

    def paused(self) -> list[str]:
        """Why partitions wait for a person, one for each."""
        return list(self.runner.paused().values()) if self.runner else []
