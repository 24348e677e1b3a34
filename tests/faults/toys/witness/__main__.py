"""The clerk's work, under another name."""

from __future__ import annotations

from clerk.__main__ import Clerk
from pydantic_settings import SettingsConfigDict

from driftloop_bus.runner import on_batch
from driftloop_contracts.topics import OUTCOMES
from driftloop_kit.entry import main
from driftloop_kit.service import Service
from driftloop_kit.settings import ServiceSettings


class Settings(ServiceSettings):
    """The kit's alone."""

    model_config = SettingsConfigDict(env_prefix="WITNESS_")


def build(settings: Settings) -> Service[Clerk]:
    return Service("witness", settings, handlers=Clerk, routes=[on_batch(OUTCOMES, Clerk.on_outcomes)])


if __name__ == "__main__":
    main("witness", build, Settings)
