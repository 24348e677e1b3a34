"""What the README shows runs as it stands."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from libs.client.tests.test_subscription import EXAMPLES, publish

from driftloop_bus.codec import encode
from driftloop_contracts import first
from driftloop_contracts.loop import DriftDetected

pytestmark = pytest.mark.stack
README = (Path(__file__).parents[1] / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def started(snippet: str, kafka: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", "-c", snippet],
        env={"DRIFTLOOP_KAFKA": kafka},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("place", [0, 1])
def test_logging_as_the_readme_shows_it(place: int, kafka: str) -> None:
    process = started(SNIPPETS[place], kafka)
    _, complained = process.communicate(timeout=90)
    assert (process.returncode, complained) == (0, "")


async def test_subscribing_as_the_readme_shows_it(kafka: str) -> None:
    example = json.loads((EXAMPLES / f"{DriftDetected.TYPE}.json").read_text())
    fact = DriftDetected.read(json.dumps(example["data"]).encode())
    await publish(kafka, [encode(first(fact, id="readme-alert", time=fact.detected_at), "monitor")])
    expected = f"{fact.model} {fact.severity} {fact.recommendation.action} {fact.recommendation.reason}\n"
    process = started(SNIPPETS[2], kafka)
    too_late = threading.Timer(90, process.kill)
    too_late.start()
    try:
        assert process.stdout is not None
        assert expected in process.stdout, "whatever else is on the topic"
    finally:
        too_late.cancel()
        process.kill()
        process.communicate()
