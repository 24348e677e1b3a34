"""The page says what the code says."""

import re
from pathlib import Path

from driftloop_bus.routes import reads
from driftloop_kit.settings import ServiceSettings
from serving.settings import Settings

PAGE = (Path(__file__).parents[1] / "README.md").read_text()


def test_it_names_every_topic_that_serving_reads_and_no_other() -> None:
    consumed = PAGE.partition("**Consumes**")[2].partition("**Emits**")[0]
    assert set(re.findall(r"`([a-z-]+\.v\d)`", consumed)) == {topic.name for topic in reads("serving")}


def test_it_names_every_setting_of_its_own_with_its_default() -> None:
    rows = dict(re.findall(r"\| `SERVING_(\w+)` \| (\d+)", PAGE))
    own = set(Settings.model_fields) - set(ServiceSettings.model_fields) | {"http_port"}
    assert rows == {name.upper(): str(Settings.model_fields[name].default) for name in own}
