"""What differs between places."""

from __future__ import annotations

from pydantic_settings import SettingsConfigDict

from driftloop_kit.settings import ServiceSettings


class Settings(ServiceSettings):
    """The console's settings, `CONSOLE_...`."""

    model_config = SettingsConfigDict(env_prefix="CONSOLE_", frozen=True)
