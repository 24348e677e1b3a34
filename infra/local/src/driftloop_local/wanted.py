"""What was asked for: written by `up`, followed by the supervisor while it runs."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from driftloop_local.errors import StackRefused
from driftloop_local.home import Home, write_private_json
from driftloop_local.services import INFRASTRUCTURE, SERVICE_OF, SERVICES


@dataclass(frozen=True)
class Wanted:
    """Names of parts, in the order of the catalogue, and what their environment depends on."""

    parts: tuple[str, ...]
    code_path: str = ""
    """Where the retrainer finds the training functions of the models."""

    def joined(self, other: "Wanted") -> "Wanted":
        """Both; the other's code path counts where it has one."""
        return Wanted(in_order({*self.parts, *other.parts}), other.code_path or self.code_path)


def everything() -> tuple[str, ...]:
    return (*INFRASTRUCTURE, *(service.name for service in SERVICES))


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    chosen = set(names)
    return tuple(name for name in everything() if name in chosen)


def chosen_parts(only: Iterable[str] | None) -> tuple[str, ...]:
    """All parts, or the named ones; a service brings Kafka and Postgres with it. Raises StackRefused on unknown names."""
    if only is None:
        return everything()
    names = set(only)
    unknown = names - set(everything())
    if unknown:
        raise StackRefused(f"there is no part {', '.join(sorted(unknown))}", f"choose among {', '.join(everything())}")
    if names & set(SERVICE_OF):
        names |= set(INFRASTRUCTURE)
    return in_order(names)


def read_wanted(home: Home) -> Wanted:
    content = json.loads(home.wanted.read_text(encoding="utf-8"))
    return Wanted(tuple(content["parts"]), content["code_path"])


def write_wanted(home: Home, wanted: Wanted) -> None:
    write_private_json(home.wanted, asdict(wanted))
