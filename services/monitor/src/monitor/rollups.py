"""Faust rollups: measurements summed over a minute, five minutes and an hour of event time, for displays.

`python -m monitor rollups`, a process of its own. Derived, lossy, rebuilt by replay: after a kill sums may count some
measurements twice. No alarm, request or promotion looks at them, and this is the one file with Faust in it.
"""

from __future__ import annotations

import json
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NoReturn

import faust
from pydantic import ValidationError

from driftloop_bus.codec import encode
from driftloop_contracts import Event, derived_id
from driftloop_contracts.loop import MeasurementTaken, RollupClosed
from driftloop_contracts.topics import MEASUREMENTS, ROLLUPS

APP: Final = "monitor-rollups"
WIDTHS_S: Final = (60, 300, 3_600)
# Faust compares a window's end with the wall clock. A replay's windows lie years back, so each is cleaned at the next
# round: rare rounds leave an hour of any stream in memory, and no more.
KEPT: Final = timedelta(hours=6)
CLEANING_EACH_S: Final = 3_600.0
# Without a broker Faust does not end by itself.
STOPS_WITHIN_S: Final = 8.0


def build(bootstrap: str, data: Path) -> Any:
    """The Faust app, without web server."""
    app = faust.App(
        APP,
        broker=[f"kafka://{address}" for address in bootstrap.split(",")],
        store="memory://",
        datadir=str(data / APP),
        web_enabled=False,
        # The changelogs are Faust's own topics, and no broker of ours makes topics by itself.
        topic_allow_declare=True,
        topic_disable_leader=True,
        topic_replication_factor=1,
        topic_partitions=MEASUREMENTS.partitions,
        broker_session_timeout=8,
        broker_heartbeat_interval=2,
        broker_commit_interval=1,
        table_cleanup_interval=CLEANING_EACH_S,
        consumer_auto_offset_reset="earliest",
    )
    source = app.topic(MEASUREMENTS.name, key_serializer="raw", value_serializer="raw", allow_empty=True)
    sink = app.topic(ROLLUPS.name, key_serializer="raw", value_serializer="raw")
    newest = app.Table("newest", default=float, partitions=MEASUREMENTS.partitions)
    windows = {width_s: _windowed(app, width_s) for width_s in WIDTHS_S}

    async def roll_up(stream: Any) -> None:
        async for event in stream.events():
            taken = read(event.value)
            if taken is None:
                app.logger.warning("a measurement that can't be read was left out")
                continue
            for width_s, table in windows.items():
                for closed in rolled(taken, width_s, table, newest):
                    await _sent(sink, closed)

    app.agent(source)(roll_up)
    return app


def rolled(taken: MeasurementTaken, width_s: int, table: Any, newest: Any) -> list[RollupClosed]:
    """The measurement is summed into its window; the windows that it closed, or corrected after they were, follow.

    table: Faust's windowed table, asked within the event; newest: start of the newest window of each series.
    """
    key = json.dumps([taken.model, taken.version, taken.signal])
    start = _start(taken, width_s)
    last = newest[f"{width_s}:{key}"]
    closed = []
    if last and start > last:
        # Not `delta`: it counts back from Kafka's timestamp, whatever the table is relative to.
        n, total = table[key][faust.TumblingWindow(width_s).current(last)]
        closed.append(_rollup(taken, width_s, last, n, total))
    n, total = table[key].value()
    table[key] = [n + taken.n, total + taken.n * taken.mean]
    if start < last:
        closed.append(_rollup(taken, width_s, start, *table[key].value()))
    newest[f"{width_s}:{key}"] = max(last, start)
    return [one for one in closed if one.n]


def read(value: bytes | None) -> MeasurementTaken | None:
    """The measurement in these bytes; None where there is none."""
    try:
        return MeasurementTaken.read(value or b"")
    except ValidationError:
        return None


def run(bootstrap: str, data: Path) -> NoReturn:
    """Runs until SIGTERM or SIGINT, and not much longer."""
    data.mkdir(parents=True, exist_ok=True)
    _Worker(build(bootstrap, data), loglevel="INFO").execute_from_commandline()
    raise SystemExit(0)


class _Worker(faust.Worker):  # type: ignore[misc]  # Faust ships no types
    """Ends when it is told to, whatever the broker does."""

    def _on_sigterm(self) -> None:
        self._limit()
        super()._on_sigterm()

    def _on_sigint(self) -> None:
        self._limit()
        super()._on_sigint()

    def _limit(self) -> None:
        deadline = threading.Timer(STOPS_WITHIN_S, os._exit, (1,))
        deadline.daemon = True
        deadline.start()


def _windowed(app: Any, width_s: int) -> Any:
    table = app.Table(f"rollup-{width_s}s", default=_nothing, partitions=MEASUREMENTS.partitions)
    return table.tumbling(width_s, expires=KEPT, key_index=False).relative_to(_event_time)


def _nothing() -> list[float]:
    """Rows, and the sum over them."""
    return [0, 0.0]


def _event_time(event: Any) -> float:
    taken = read(event.value)
    return taken.window_end.timestamp() if taken else 0.0


def _start(taken: MeasurementTaken, width_s: int) -> float:
    end = taken.window_end.timestamp()
    return end - end % width_s


def _rollup(taken: MeasurementTaken, width_s: int, start: float, n: int, total: float) -> RollupClosed:
    return RollupClosed(
        model=taken.model, version=taken.version, signal=taken.signal, width_s=width_s,
        window_start=datetime.fromtimestamp(start, UTC), n=int(n), mean=total / n if n else 0.0,
    )  # fmt: skip


async def _sent(sink: Any, closed: RollupClosed) -> None:
    series = f"{closed.model}:{closed.version}:{closed.signal}:{closed.width_s}"
    identity = derived_id(f"{series}:{closed.window_start.timestamp()}", f"{closed.TYPE}:{closed.n}")
    record = encode(Event(id=identity, time=closed.window_start, data=closed, correlation=identity), "monitor")
    await sink.send(key=record.key, value=record.value, headers=dict(record.headers))
