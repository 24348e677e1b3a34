"""A record that kills its reader: found out by what the dead left behind, then passed by.

Pure. The ledger keeps two counts for a partition: how often it was claimed where it stands, and how often the one record
that stands there was begun, alone, and never ended. The first makes its next owner careful; the second is proof.
"""

from __future__ import annotations

from typing import Final

from driftloop_bus.parking import Killer, Parked
from driftloop_bus.ports import Claim, Record

# Two owners before this one came here and neither went on nor let go. They may have been killed by something else, so this
# makes nobody guilty; records are only taken one by one.
SUSPICIOUS_CLAIMS: Final = 3
# A record that was twice all that its reader was at when it died. Once could be a coincidence.
PROVEN_DEATHS: Final = 2


def is_suspicious(claim: Claim) -> bool:
    """Whether what is read next is taken record by record, each with a note left before."""
    return claim.claims >= SUSPICIOUS_CLAIMS or claim.deaths > 0


def is_proven(claim: Claim) -> bool:
    """Whether the record at the claim's offset is parked without being looked at."""
    return claim.deaths >= PROVEN_DEATHS


def quarantined(record: Record, claim: Claim) -> Parked:
    """The record, parked by reference: its bytes are copied nowhere."""
    said = (
        f"its reader died {claim.deaths} times while this record was all that it was at; it lies at {record.position}"
    )
    return Parked(record, Killer(said), claim.deaths)
