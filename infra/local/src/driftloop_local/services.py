"""Which services there are. Data: a new one is one more line."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

KAFKA: Final = "kafka"
POSTGRES: Final = "postgres"
INFRASTRUCTURE: Final = (KAFKA, POSTGRES)


@dataclass(frozen=True)
class Service:
    """How one process of ours is started and asked whether it is ready."""

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    has_database: bool = False
    """Its own, named as the module; several processes of one module share it."""
    ready_path: str | None = "/ready"
    """None: it has no HTTP door, and counts as ready while it lives."""

    @property
    def prefix(self) -> str:
        """Of its settings in the environment."""
        return self.module.upper()

    @property
    def is_installed(self) -> bool:
        return find_spec(self.module) is not None


SERVICES: Final = (
    Service("registry", "registry", has_database=True),
    Service("feature_store", "feature_store", has_database=True),
    Service("serving", "serving"),
    Service("monitor", "monitor", has_database=True),
    Service("monitor-rollups", "monitor", arguments=("rollups",), has_database=True, ready_path=None),
    Service("retrainer", "retrainer", has_database=True),
    Service("console", "console"),
)
SERVICE_OF: Final = {service.name: service for service in SERVICES}
PORT_NAMES: Final = (KAFKA, "kafka-controller", POSTGRES, *(s.name for s in SERVICES if s.ready_path is not None))
