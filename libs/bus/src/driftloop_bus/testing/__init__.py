"""The log and the ledger in memory, and the suites that every implementation passes. Public: test your consumers with them."""

from driftloop_bus.testing.ledger_contract import LedgerContract
from driftloop_bus.testing.log_contract import LogContract, nobody
from driftloop_bus.testing.memory_ledger import MemoryLedger
from driftloop_bus.testing.memory_log import MemoryLog
from driftloop_bus.testing.telling import everything, publish, say
from driftloop_bus.testing.waiting import eventually

__all__ = [
    "LedgerContract",
    "LogContract",
    "MemoryLedger",
    "MemoryLog",
    "eventually",
    "everything",
    "nobody",
    "publish",
    "say",
]
