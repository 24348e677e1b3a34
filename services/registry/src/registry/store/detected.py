"""The type of event that opens an incident."""

from typing import Final

from driftloop_contracts.loop import DriftDetected

DETECTED: Final = DriftDetected.TYPE
