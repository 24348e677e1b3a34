"""Every check of the plan: what it must reach, what it is worth, and how to run it alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the table. `python -m tests.faults ID` runs it."""

    id: str
    file: str
    """Below `tests/`."""
    must: str
    points: int
    fast_s: float | None = None
    """Longest time of its short form, which CI runs on every change; None: only whole, by night or by week."""
    whole_s: float = 3600.0


CHECKS: Final = (
    Check("L1", "load/test_ingest.py", "1 KiB events for 5 min, all parts: at least 1,000/s, p99 at most 100 ms", 2),
    Check("L2", "load/test_predict_rate.py", "200 requests/s: p99 at most 25 ms; emission p50 at most 2 ms", 2, 90),
    Check("L3", "load/test_overload.py", "3 x 120 s and slowloris: 429 or 503 with Retry-After alone; RSS + 100 MiB", 2),
    Check("L4", "load/test_slow_consumer.py", "a tenth of the speed for 10 min: RSS + 50 MiB, lag right to 5 %", 2),
    Check("L5", "load/test_many_keys.py", "a million keys: RSS at most 512 MiB, counts exact when they come back", 2),
    Check("L6", "load/test_soak.py", "60 min, a rebalance a minute: RSS + 1 MiB each 10 min, descriptors flat", 2, None, 5400),
    Check("F1", "faults/test_broker.py", "broker killed, killed 20 times, stopped; leaders killed 20 times", 4, None, 5400),
    Check("F2", "faults/test_failpoints.py", "a crash at 10 failpoints x 50; records 1 to 5 times; shuffled", 4, 120, 7200),
    Check("F3", "faults/test_rebalance.py", "a member comes or goes every 2 s, 100 times: progress each 10 s", 3),
    Check("F4", "faults/test_zombie.py", "an owner that is stopped for 15 s, 20 times: its rows 0, successor in 20 s", 3),
    Check("F5", "faults/test_pg_kill.py", "Postgres killed 15 times: 503 in 2 s, first ok 5 s after it is back", 4, 90),
    Check("F6", "faults/test_pg_stop.py", "Postgres stopped for 30 s: no request above 5 s, first ok in 1 s", 2),
    Check("F7", "faults/test_pg_failover.py", "a standby is promoted: first write in 10 s, 25006 gone after 5 s", 2),
    Check("F8", "faults/test_disk_full.py", "disks full: no partial artifact, back 30 s after there is room", 2),
    Check("F9", "faults/test_registry_events.py", "service and relay killed 50 times: a change without event 0", 4, 90),
    Check("F10", "faults/test_trainer.py", "trainer killed 20 times, two trainers on 50 requests: one version each", 3),
    Check("F11", "faults/test_partition.py", "each connection a black hole for 60 s: hung tasks 0 after 30 s", 2),
    Check("F12", "faults/test_clock.py", "clocks 3 d ahead and 1 h behind: the same state; late rows to the side", 1),
    Check("R1", "faults/test_rebuild.py", "200,000 events replayed: the same state, at least 5,000/s; orphans exact", 3, 90),
    Check("R2", "faults/test_replay_live.py", "replayed into a live database: rows changed 0, alerts 0", 2),
    Check("R3", "faults/test_restore.py", "restored: acked before the backup lost 0, in 5 min; a cut log is found", 2),
    Check("R4", "faults/test_artifacts.py", "100 blobs flipped, 20 deleted: 120 refused; bad models stopped", 3),
    Check("R5", "faults/test_redrive.py", "1,000 parked, fixed, redriven: 1,000 effects, order marked", 2),
    Check("U1", "compatibility/test_rolling.py", "the last commit, this one and back: dead letters 0, refused requests 0", 3),
    Check("U2", "compatibility/test_golden.py", "golden topics replayed: ids and hashes as recorded", 2, 60),
    Check("U3", "compatibility/test_migration.py", "migrations under load: waits at most 200 ms, rollback works", 1),
    Check("U4", "compatibility/test_drain_swap.py", "100 swaps at 200/s, SIGTERM 20 times: refused requests 0", 2),
    Check("K1", "faults/test_circle.py", "the demo at 200 events/s, parts killed for 10 min: it closes, all once", 0),
)  # fmt: skip
BY_ID: Final = {check.id: check for check in CHECKS}
TO_REACH: Final = 60
"""Of 66 points. A loss in F or R caps the sum at 49."""
CAPPED_AT: Final = 49
