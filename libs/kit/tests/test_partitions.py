"""The door at which a person lets a paused partition go on."""

from __future__ import annotations

from typing import Any

from libs.kit.tests.test_http import KEY, served

from driftloop_kit.service import Context


class Paused:
    """A reader with one paused partition."""

    def __init__(self) -> None:
        self.partitions = {("commands.v1", 0): "20 in a row"}

    def paused(self) -> dict[tuple[str, int], str]:
        return dict(self.partitions)

    def resume(self, topic: str, partition: int) -> bool:
        return self.partitions.pop((topic, partition), None) is not None


async def test_a_paused_partition_goes_on_and_the_answer_says_why_it_stood() -> None:
    async with served() as client:
        context: Context[Any] = client.extensions["context"]  # type: ignore[attr-defined]
        context.reader = Paused()
        context.health.limp("paused", False, "20 in a row")
        wrong = await client.post("/partitions/commands.v1/1/resume")
        assert (wrong.status_code, wrong.json()["error"]) == (
            404, "commands.v1/1 is not paused here; paused are: commands.v1/0",
        )  # fmt: skip
        answer = await client.post("/partitions/commands.v1/0/resume")
        assert answer.json() == {"topic": "commands.v1", "partition": 0, "was_paused_because": "20 in a row"}
        assert "degraded" not in (await client.get("/ready")).json()
        again = await client.post("/partitions/commands.v1/0/resume")
        assert again.json() == {"error": "commands.v1/0 is not paused here; paused are: none"}


async def test_only_a_post_resumes_and_never_one_from_a_strange_page() -> None:
    async with served() as client:
        context: Context[Any] = client.extensions["context"]  # type: ignore[attr-defined]
        reader = context.reader = Paused()
        path = "/partitions/commands.v1/0/resume"
        assert (await client.get(path)).status_code == 405
        assert (await client.post(path, headers={"origin": "https://evil.example"})).status_code == 403
        assert reader.partitions


async def test_with_a_key_only_who_has_it_resumes() -> None:
    async with served(api_key=KEY) as client:
        path = "/partitions/commands.v1/0/resume"
        assert (await client.post(path)).status_code == 401
        assert (await client.post(path, headers={"authorization": f"Bearer {KEY}"})).status_code == 404


async def test_a_service_that_reads_nothing_has_nothing_paused() -> None:
    async with served() as client:
        assert (await client.post("/partitions/commands.v1/0/resume")).status_code == 404
        assert (await client.post("/partitions/commands.v1/x/resume")).json() == {"error": "Not Found"}
