"""A record that kills its reader: found out by what the dead left behind, then passed by.

The ledger keeps two counts for a partition: how often it was claimed where it stands, and how often the one record
that stands there was begun, alone, and never ended. The first makes its next owner careful; the second makes the record
suspect. Whoever kills readers from outside makes records suspect that are none: a trial, in a process of its own, tells them
apart. Where there is none, the second count is proof.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from driftloop_bus.parking import Killer, Parked
from driftloop_bus.ports import Claim, Record

# Two owners before this one came here and neither went on nor let go. They may have been killed by something else, so this
# makes nobody guilty; records are only taken one by one.
SUSPICIOUS_CLAIMS: Final = 3
# A record that was twice all that its reader was at when it died. Once is likely a coincidence, and a trial takes seconds: readers
# that are killed over and over must get on meanwhile.
SUSPECT_DEATHS: Final = 2
# A record that survives its trials and still has so many readers die over it is passed by as well: nobody would go on.
HOPELESS_DEATHS: Final = 20
# Whether another process has survived the record, without effects. Raises TryAgain where that can't be known now.
Trial = Callable[[Record], Awaitable[bool]]


def is_suspicious(claim: Claim) -> bool:
    """Whether what is read next is taken record by record, each with a note left before."""
    return claim.claims >= SUSPICIOUS_CLAIMS or claim.deaths > 0


async def is_guilty(claim: Claim, record: Record, trial: Trial | None) -> bool:
    """Whether the record, which stands at the claim's offset, is parked without being looked at."""
    if claim.deaths < SUSPECT_DEATHS:
        return False
    return trial is None or claim.deaths >= HOPELESS_DEATHS or not await trial(record)


def quarantined(record: Record, claim: Claim) -> Parked:
    """The record, parked by reference: its bytes are copied nowhere."""
    said = (
        f"its reader died {claim.deaths} times while this record was all that it was at; it lies at {record.position}"
    )
    return Parked(record, Killer(said), claim.deaths)
