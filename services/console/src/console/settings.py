"""What differs between places."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from driftloop_kit.settings import ServiceSettings


class Settings(ServiceSettings):
    """The console's settings, `CONSOLE_...`."""

    model_config = SettingsConfigDict(env_prefix="CONSOLE_", frozen=True)

    http_port: int = Field(default=8086, ge=0, le=65535)
    """Port to listen on; 0: a free one."""
