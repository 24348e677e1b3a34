"""What differs between places."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from driftloop_kit.settings import ServiceSettings


class Settings(ServiceSettings):
    """Serving's own settings, beside those of every service."""

    model_config = SettingsConfigDict(env_prefix="SERVING_")

    http_port: int = Field(default=8083, ge=0, le=65535)
    """Port to listen on; 0: a free one."""
    max_entities: int = Field(default=1_000_000, ge=1)
    """How many entities of views are kept in memory, about 300 bytes each. Features of further ones are missing."""
    spool_mib: int = Field(default=1024, ge=1)
    """How much may wait for Kafka on disk; beyond it the oldest predictions are dropped, and counted."""
