"""The times of the demo. Chosen after looking at the data: what is shown is a regression test, not a finding."""

from datetime import UTC, datetime
from typing import Final

# A winter model: it knows what had arrived when February ended in New York (midnight UTC is five hours earlier, and
# 282 outcomes less).
CHAMPION_UNTIL: Final = datetime(2013, 3, 1, 5, tzinfo=UTC)

# Before this all is history, loaded at once; from here on it is replayed.
REPLAY_FROM: Final = datetime(2013, 6, 15, 5, tzinfo=UTC)
REPLAY_UNTIL: Final = datetime(2013, 7, 13, 5, tzinfo=UTC)
HARD_REPLAY_UNTIL: Final = datetime(2013, 7, 27, 5, tzinfo=UTC)

# Faults are injected into a month without drift, under a champion that knows its summer.
FAULT_CHAMPION_UNTIL: Final = datetime(2013, 9, 1, 5, tzinfo=UTC)
FAULT_FROM: Final = datetime(2013, 10, 1, 5, tzinfo=UTC)
FAULT_UNTIL: Final = datetime(2013, 10, 29, 5, tzinfo=UTC)

# There are flights of 2013 alone.
YEAR_END: Final = datetime(2014, 1, 1, 5, tzinfo=UTC)
