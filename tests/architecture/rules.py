"""Who may import whom. A rule is a function from a module to what it breaks, so that each can be seen to bite."""

from __future__ import annotations

import sys
from typing import Final

from tree import LIBRARIES, SERVICES, Module, imports

# What each of our libraries may know of the others. Strangers' libraries are each package's own affair, but for those below.
KNOWS: Final[dict[str, set[str]]] = {
    "driftloop_contracts": set(),
    "driftloop_artifacts": set(),
    "driftloop_detect": set(),
    "driftloop_models": set(),
    "driftloop_bus": {"driftloop_contracts"},
    "driftloop_kit": {"driftloop_contracts", "driftloop_bus"},
    "driftloop": {"driftloop_contracts", "driftloop_bus"},
}
# Inside a service no arrow points left. Decisions know only decisions; handlers know no door.
ROOMS: Final[dict[str, set[str]]] = {"domain": {"domain"}, "ports": {"ports", "domain"}}
DOORS: Final = {"__main__", "composition", "settings", "api", "store", "rollups", "executor"}
# Where a service is put together: only here are settings known.
COMPOSED_IN: Final = {"__main__", "composition", "settings"}
# Each of these is imported in one place alone, so that it can be replaced there.
ONLY_IN: Final[dict[str, set[str]]] = {
    "aiokafka": {"driftloop_bus.kafka"},
    "faust": {"monitor.rollups"},
}
DOMAIN_MAY: Final = {"numpy", "river", "driftloop_detect"}
OURS: Final = {source.name for source in (*LIBRARIES, *SERVICES)}
# Code that arrives as data runs as code in these.
UNSAFE: Final = {"pickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}


def top(name: str) -> str:
    """The package that a dotted name belongs to."""
    return name.split(".")[0]


def libraries_know_only_their_own(module: Module) -> list[str]:
    """contracts → nothing, bus → contracts, kit → bus; no library knows a service."""
    allowed = KNOWS[module.package] | {module.package}
    return [f"imports {name}" for name in sorted(imports(module.tree())) if top(name) in OURS - allowed]


def no_service_knows_another(module: Module) -> list[str]:
    """Services speak through topics only."""
    services = {source.name for source in SERVICES} - {module.package}
    return [f"imports {name}" for name in sorted(imports(module.tree())) if top(name) in services]


def rooms_know_only_what_lies_right_of_them(module: Module) -> list[str]:
    """__main__ → doors → handlers → ports → domain."""
    inner = {name.split(".")[1] for name in imports(module.tree()) if top(name) == module.package and "." in name}
    wrong = set()
    if module.room in ROOMS:
        wrong = inner - ROOMS[module.room]
    elif module.room == "handlers":
        wrong = inner & DOORS
    elif module.room == "store":
        wrong = inner & (DOORS - {"store"})
    elif module.room not in COMPOSED_IN:
        wrong = inner & {"settings", "__main__"}
    return [f"{module.room} imports {room}" for room in sorted(wrong)]


def the_domain_is_pure(module: Module) -> list[str]:
    """No wire, no I/O, no clock, no randomness: standard library, numpy, river and our statistics."""
    if module.room != "domain":
        return []
    allowed = DOMAIN_MAY | {module.package} | set(sys.stdlib_module_names)
    impure = {"asyncio", "random", "os", "socket", "time", "subprocess", "threading", "secrets"}
    names = imports(module.tree())
    return [f"imports {name}" for name in sorted(names) if top(name) not in allowed or top(name) in impure]


def what_is_replaceable_stands_in_one_place(module: Module) -> list[str]:
    """aiokafka in one folder of the bus, faust in one module of the monitor."""
    here = f"{module.package}.{module.room}"
    names = {top(name) for name in imports(module.tree())}
    return [
        f"imports {name}, which only {sorted(ONLY_IN[name])} may"
        for name in sorted(names & set(ONLY_IN))
        if here not in ONLY_IN[name]
    ]


def nothing_from_outside_is_run(module: Module) -> list[str]:
    """No pickle and its kin."""
    return [f"imports {name}" for name in sorted(imports(module.tree())) if top(name) in UNSAFE]


FOR_LIBRARIES: Final = (libraries_know_only_their_own,)
FOR_SERVICES: Final = (no_service_knows_another, rooms_know_only_what_lies_right_of_them, the_domain_is_pure)
FOR_ALL: Final = (what_is_replaceable_stands_in_one_place, nothing_from_outside_is_run)
