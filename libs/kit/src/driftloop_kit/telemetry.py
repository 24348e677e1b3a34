"""What a service tells machines and operators: JSON lines on stdout, metrics at `/metrics`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, Final, Literal

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from driftloop_bus.observer import Note

Metric = Literal[
    "driftloop_records",
    "driftloop_batch_seconds",
    "driftloop_notes",
    "driftloop_jobs",
    "driftloop_http_requests",
    "driftloop_http_seconds",
    "driftloop_outbox_pending",
    "driftloop_lag_records",
    "driftloop_lag_seconds",
    "driftloop_paused",
    "driftloop_tasks",
    "driftloop_prediction_seconds",
    "driftloop_emission_seconds",
    "driftloop_predictions",
    "driftloop_serving",
    "driftloop_spool_pending",
    "driftloop_history_rows",
    "driftloop_history_waiting",
    "driftloop_trainings",
    "driftloop_training_seconds",
]
"""Every metric that any service has; one that is not here does not exist."""

JobWhat = Literal["ended", "lost", "waits", "bug", "tried_again"]

_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_COUNTERS: Final[dict[Metric, tuple[str, tuple[str, ...]]]] = {
    "driftloop_records": ("Kafka records handled in committed transactions", ("topic",)),
    "driftloop_notes": ("What the bus saw, by kind", ("kind", "topic")),
    "driftloop_jobs": ("What became of job attempts", ("kind", "what")),
    "driftloop_http_requests": ("Answers of the HTTP door", ("status",)),
    "driftloop_predictions": ("Predictions made", ("model", "variant")),
    "driftloop_serving": ("What serving saw: loads, features set aside, shadows behind", ("what", "model", "why")),
    "driftloop_history_rows": ("Rows stored in the history", ("topic",)),
    "driftloop_trainings": ("Trainings that ended, by how", ("model", "end")),
}
_HISTOGRAMS: Final[dict[Metric, tuple[str, tuple[str, ...]]]] = {
    "driftloop_batch_seconds": ("From poll to commit, one slice", ("topic",)),
    "driftloop_http_seconds": ("From request to last byte of the answer", ()),
    "driftloop_prediction_seconds": ("From the parsed request to the answer", ()),
    "driftloop_emission_seconds": (
        "The events of a tick made and on disk: what its answers wait for beside the model",
        (),
    ),
    "driftloop_training_seconds": ("From the lease of a training to its end", ("model",)),
}
_GAUGES: Final[dict[Metric, tuple[str, tuple[str, ...]]]] = {
    "driftloop_lag_records": ("Kafka records of partitions read here that are not handled yet", ("topic",)),
    "driftloop_lag_seconds": ("Age of the oldest of them, by Kafka's time of it", ("topic",)),
    "driftloop_outbox_pending": ("Committed records that Kafka has not acked", ()),
    "driftloop_tasks": ("What the process does at once, waiting included: it does not grow while nothing hangs", ()),
    "driftloop_paused": ("Partitions that stand still until a person resumes them", ()),
    "driftloop_spool_pending": ("Spooled records that Kafka has not acked", ()),
    "driftloop_history_waiting": ("Rows that were read and are not in the history yet", ()),
}
_QUIET: Final = frozenset(("handled", "ticked", "skipped", "relayed", "claimed", "revoked", "spooled", "spool_sent"))
_LOUD: Final = frozenset(("bug", "flooded", "gap", "spool_dropped", "spool_torn", "parked"))


class Telemetry:
    """One service's metrics and log."""

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        self.log: structlog.stdlib.BoundLogger = structlog.get_logger(service)
        self._counters = {
            n: Counter(n, text, labels, registry=self.registry) for n, (text, labels) in _COUNTERS.items()
        }
        self._gauges = {n: Gauge(n, text, labels, registry=self.registry) for n, (text, labels) in _GAUGES.items()}
        self._histograms = {
            n: Histogram(n, text, labels, buckets=_SECONDS, registry=self.registry)
            for n, (text, labels) in _HISTOGRAMS.items()
        }

    def count(self, name: Metric, amount: float = 1, *labels: str) -> None:
        """The counter is `amount` higher. Labels in the order of its declaration."""
        counter = self._counters[name]
        (counter.labels(*labels) if labels else counter).inc(amount)

    def time(self, name: Metric, seconds: float, *labels: str) -> None:
        """One more duration in the histogram."""
        histogram = self._histograms[name]
        (histogram.labels(*labels) if labels else histogram).observe(seconds)

    def counter(self, name: Metric, *labels: str) -> Callable[[], None]:
        """For hot paths: each call adds one to this counter."""
        counter = self._counters[name]
        return (counter.labels(*labels) if labels else counter).inc

    def timer(self, name: Metric, *labels: str) -> Callable[[float], None]:
        """For hot paths: each call is one more duration in this histogram."""
        histogram = self._histograms[name]
        return (histogram.labels(*labels) if labels else histogram).observe

    def set(self, name: Metric, value: float, *labels: str) -> None:
        """The gauge stands there now."""
        gauge = self._gauges[name]
        (gauge.labels(*labels) if labels else gauge).set(value)

    def note(self, note: Note) -> None:
        """The bus's observer: counted, and logged where a person may need it."""
        self.count("driftloop_notes", 1, note.kind, note.topic)
        if note.kind == "handled":
            self.count("driftloop_records", note.records, note.topic)
            self.time("driftloop_batch_seconds", note.seconds, note.topic)
        if note.kind in _QUIET:
            return
        level = logging.ERROR if note.kind in _LOUD else logging.WARNING
        place = {"topic": note.topic, "partition": note.partition, "offset": note.offset} if note.topic else {}
        self.log.log(level, note.kind, reason=note.reason, exc_info=note.error, **place)

    def job(self, what: JobWhat, kind: str, *, error: BaseException | None = None, **facts: Any) -> None:
        """What became of an attempt at a job."""
        self.count("driftloop_jobs", 1, kind, what)
        level = logging.ERROR if what == "bug" else logging.INFO
        self.log.log(level, f"job_{what}", kind=kind, exc_info=error, **facts)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


def configure_logging(service: str, level: str) -> None:
    """Everything that is logged in this process leaves as one JSON object a line on stdout."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    handler.addFilter(_Thinned())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("uvicorn.access").disabled = True


class _Thinned(logging.Filter):
    """Foreign libraries say the same thing at most once in 10 s: aiokafka warns without limit while a broker is down."""

    EVERY_S: Final = 10.0
    MAX_KEPT: Final = 500

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(("aiokafka", "asyncio", "kafka")):
            return True
        said = (record.name, str(record.msg))
        if record.created - self._last.get(said, 0.0) < self.EVERY_S:
            return False
        if len(self._last) >= self.MAX_KEPT:
            self._last.clear()
        self._last[said] = record.created
        return True
