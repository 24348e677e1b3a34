"""When a lag is a danger."""

from __future__ import annotations

from driftloop_bus.lag import Lag
from driftloop_contracts.topics import DEPLOYMENTS, PREDICTIONS
from driftloop_kit.lagging import A_DAY_S, alarm


def test_half_of_a_topics_retention_is_too_far_behind() -> None:
    far = Lag(10, 3.6 * A_DAY_S)
    assert alarm(PREDICTIONS.name, Lag(10, 3.4 * A_DAY_S)) is None
    assert alarm(PREDICTIONS.name, far) == "predictions.v1 is 3.6 days behind; its records are kept for 7 days"


def test_what_is_kept_for_ever_can_be_read_at_any_time() -> None:
    assert alarm(DEPLOYMENTS.name, Lag(10, 400 * A_DAY_S)) is None


def test_a_topic_of_nobodys_catalogue_is_no_danger() -> None:
    assert alarm("toys.v1", Lag(1, 400 * A_DAY_S)) is None
