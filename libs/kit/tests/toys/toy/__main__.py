"""It notes each command, and what people say at its door."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from fastapi import APIRouter
from pydantic_settings import SettingsConfigDict

from driftloop_bus.ports import Outgoing, Transaction
from driftloop_bus.runner import on
from driftloop_contracts.control_plane import CommandGiven
from driftloop_contracts.event import Event
from driftloop_contracts.topics import COMMANDS
from driftloop_kit.entry import main
from driftloop_kit.jobs import Job, JobEnd, JobKind, Jobs
from driftloop_kit.service import Context, Reply, Service
from driftloop_kit.settings import ServiceSettings


class Settings(ServiceSettings):
    """The kit's alone."""

    model_config = SettingsConfigDict(env_prefix="TOY_")


class Toy:
    """Handlers."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def on_command(self, event: Event[CommandGiven]) -> list[Outgoing]:
        if event.data.reason == "deadly":
            # As the kernel does it to who wants too much memory: nothing is caught, nothing is said.
            os.kill(os.getpid(), signal.SIGKILL)
        await Jobs(self._tx).add(f"job-{event.id}", "echo", {"said": event.data.reason})
        return await self.note(event.id, event.data.reason)

    async def note(self, note_id: str, said: str) -> list[Outgoing]:
        await self._tx.connection.execute("INSERT INTO note VALUES ($1, $2)", note_id, said)
        return [Outgoing("runs.v1", b"toy", said.encode())]

    async def on_echoed(self, job: Job, end: JobEnd) -> list[Outgoing]:
        return await self.note(job.id, f"echo of {job.payload['said']}")


def api(context: Context[Toy]) -> APIRouter:
    router = APIRouter()

    @router.post("/notes/{note_id}")
    async def note(note_id: str, said: str) -> dict[str, str]:
        async def act(toy: Toy) -> Reply[dict[str, str]]:
            return Reply({"id": note_id}, await toy.note(note_id, said))

        return await context.act(act)

    @router.get("/notes")
    async def notes() -> dict[str, str]:
        async with context.read() as connection:
            return {row["id"]: row["said"] for row in await connection.fetch("SELECT * FROM note")}

    @router.get("/slow")
    async def slow() -> dict[str, bool]:
        context.health.fact("slow_begun", lambda: True)
        await asyncio.sleep(1)
        return {"answered": True}

    return router


async def echo(context: Context[Toy], job: Job) -> Any:
    return job.payload


def build(settings: Settings) -> Service[Toy]:
    return Service(
        "toy",
        settings,
        handlers=Toy,
        routes=[on(CommandGiven, Toy.on_command, topic=COMMANDS)],
        api=api,
        jobs=[JobKind("echo", echo, ended=Toy.on_echoed)],
    )


if __name__ == "__main__":
    main("toy", build, Settings)
