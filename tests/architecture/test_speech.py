"""Services speak by returning events: who calls a door, writes to the log or reads the wall clock is named here."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from tree import SERVICES, Module, imports, modules

# Clients of somebody's HTTP door. A training is a user's code, and so a stock client of the registry.
CALLERS = {"httpx", "aiohttp", "requests", "urllib3", "grpc", "mlflow", "http.client", "urllib.request"}
MAY_CALL = {"retrainer.tracking"}
# Ways to the log beside the outbox: serving's spool, Faust's rollups, the SDK (the console's, which has no database).
WAYS = {"driftloop_bus.spool.Spool", "driftloop.producer.AsyncProducer", "driftloop.producer.Producer", "faust"}
MAY_WRITE = {"serving.__main__", "monitor.rollups", "console.outlet"}
# Decisions go by the time of events. Doors and composition may tell a caller, or be told, what time it is.
DECIDE = {"domain", "handlers"}
WALL_CLOCKS = {"now", "utcnow", "today", "utc_now", "time", "time_ns"}


def named(module: Module) -> str:
    return f"{module.package}.{module.name}"


def calls_a_door(module: Module) -> list[str]:
    names = imports(module.tree())
    found = sorted(name for name in CALLERS if any(one == name or one.startswith(f"{name}.") for one in names))
    return [f"{named(module)} imports {name}" for name in found if named(module) not in MAY_CALL]


def writes_beside_the_outbox(module: Module) -> list[str]:
    found = sorted(imports(module.tree()) & WAYS)
    asked = [node for node in ast.walk(module.tree()) if isinstance(node, ast.Attribute) and node.attr == "producer"]
    found += [f"`.producer` in line {node.lineno}" for node in asked if ast.unparse(node.value) != "driftloop"]
    return [f"{named(module)}: {one}" for one in found if named(module) not in MAY_WRITE]


def reads_the_wall_clock(module: Module) -> list[str]:
    """`datetime.now()` and its kin, called on a module or a class; a clock that was handed in is seen in the signature."""
    if module.room not in DECIDE:
        return []
    calls = [node for node in ast.walk(module.tree()) if isinstance(node, ast.Call)]
    return [
        f"{named(module)}:{call.lineno} {ast.unparse(call)}"
        for call in calls
        if isinstance(call.func, ast.Attribute | ast.Name)
        and ast.unparse(call.func).split(".")[-1] in WALL_CLOCKS
        and ast.unparse(call.func).split(".")[0] in {"datetime", "date", "time", "utc_now"}
    ]


RULES = (calls_a_door, writes_beside_the_outbox, reads_the_wall_clock)


@pytest.mark.parametrize("source", SERVICES, ids=lambda source: source.name)
def test_a_service_calls_no_door_writes_by_the_outbox_and_decides_by_event_time(source: Path) -> None:
    own = [module for module in modules(source) if module.room != "testing"]
    assert [line for module in own for rule in RULES for line in rule(module)] == []


WRONG = {
    ("handlers", "import httpx"): calls_a_door,
    ("store", "from urllib.request import urlopen"): calls_a_door,
    ("handlers", "from driftloop.producer import AsyncProducer"): writes_beside_the_outbox,
    ("handlers", "async def on(log):\n    await log.producer()"): writes_beside_the_outbox,
    ("domain.policy", "from datetime import datetime\nNOW = datetime.now()"): reads_the_wall_clock,
    ("handlers", "import time\n\ndef on():\n    return time.time()"): reads_the_wall_clock,
}


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong[0]}: {wrong[1].splitlines()[-1].strip()}")
def test_each_rule_is_seen_to_bite(wrong: tuple[str, str], tmp_path: Path) -> None:
    name, text = wrong
    path = tmp_path / "module.py"
    path.write_text(text + "\n")
    assert WRONG[wrong](Module("monitor", name, path))
