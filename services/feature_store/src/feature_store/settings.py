"""What differs between places."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from driftloop_kit.settings import ServiceSettings


class Settings(ServiceSettings):
    """The feature store's settings, `FEATURE_STORE_...`."""

    model_config = SettingsConfigDict(env_prefix="FEATURE_STORE_", frozen=True)

    http_port: int = Field(default=8082, ge=0, le=65535)
    """Port to listen on; 0: a free one."""
    project: str = "driftloop"
    """The name under which Feast clients know this store."""
