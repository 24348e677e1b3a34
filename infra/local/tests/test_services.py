"""A service comes up after its database and topics, is told where everything is, and is brought back when it dies.

What runs here is a stand-in of one screen that is found in place of the registry: the real one has its own journeys.
"""

import json
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from driftloop_local.services import Service
from driftloop_local.stack import LocalStack

pytestmark = pytest.mark.stack

STAND_IN = """
import asyncio, json, os, subprocess, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
import asyncpg

async def run(statement):
    connection = await asyncpg.connect(os.environ["REGISTRY_DATABASE_URL"])
    await connection.execute(statement)
    await connection.close()

class Door(BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Door.asked += 1
        self.send_response(503 if Door.asked == 1 else 200)
        self.end_headers()
        self.wfile.write(b"warming up")
    def log_message(self, *_):
        pass

if sys.argv[1:] == ["migrate"]:
    asyncio.run(run("create table if not exists starts (at timestamptz default now())"))
    sys.exit()
asyncio.run(run("insert into starts default values"))
child = subprocess.Popen(["sleep", "1000"])
told = {"environment": dict(os.environ), "child": child.pid}
(Path(os.environ["DRIFTLOOP_DATA"]) / "told.json").write_text(json.dumps(told))
address = (os.environ["REGISTRY_HTTP_HOST"], int(os.environ["REGISTRY_HTTP_PORT"]))
HTTPServer(address, Door).serve_forever()
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    folder = Path(tempfile.mkdtemp(prefix="driftloop-"))
    (folder / "packages" / "registry").mkdir(parents=True)
    (folder / "packages" / "registry" / "__main__.py").write_text(STAND_IN)
    (folder / "packages" / "registry" / "__init__.py").touch()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", str(folder / "packages"))
        with LocalStack(folder / "home", {"registry"}, code_path="/models") as stack:
            yield stack
    shutil.rmtree(folder)


def told(stack: LocalStack) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((stack.home.data("registry") / "told.json").read_text())
    return content


def test_it_is_ready_only_once_its_door_says_so(stack: LocalStack) -> None:
    with urllib.request.urlopen(stack.address("registry")) as answer:
        assert answer.status == 200
    assert {name: part.state for name, part in stack.record.parts.items()} == {
        "kafka": "ready",
        "postgres": "ready",
        "topics": "done",
        "registry-migrate": "done",
        "registry": "ready",
    }


def test_it_is_told_where_everything_is(stack: LocalStack) -> None:
    environment = told(stack)["environment"]
    assert environment["DRIFTLOOP_KAFKA"] == stack.kafka
    assert environment["DRIFTLOOP_ARTIFACTS"] == stack.home.artifacts.as_uri()
    assert environment["DRIFTLOOP_HISTORY"] == stack.home.history.as_uri()
    assert environment["DRIFTLOOP_MODE"] == "local"
    assert environment["MLFLOW_TRACKING_URI"] == stack.address("registry")
    assert environment["RETRAINER_CODE_PATH"] == "/models"
    assert environment["REGISTRY_DATABASE_URL"].startswith("postgresql://registry:")


def test_it_does_not_hear_the_administrators_address(stack: LocalStack) -> None:
    assert stack.postgres not in told(stack)["environment"].values()


def test_killed_it_is_back_within_a_second_and_what_it_had_started_is_gone(stack: LocalStack) -> None:
    child = psutil.Process(told(stack)["child"])
    stack.kill("registry")
    killed_at = time.monotonic()
    while stack.status("registry").pid is None:
        assert time.monotonic() - killed_at < 1
        time.sleep(0.01)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    stack.wait_until_ready()


def test_a_service_that_is_not_installed_is_known_as_such() -> None:
    assert not Service("ghost", "a_package_that_nobody_has").is_installed
    assert Service("local", "driftloop_local").is_installed
