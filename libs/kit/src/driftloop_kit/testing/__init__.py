"""A service as a process of its own, for tests beside a real Kafka and a real Postgres."""

from driftloop_kit.testing.door import Door
from driftloop_kit.testing.places import bare_environment, free_port
from driftloop_kit.testing.process import ServiceProcess, running

__all__ = ["Door", "ServiceProcess", "bare_environment", "free_port", "running"]
