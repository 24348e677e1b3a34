"""What differs between places for the registry."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from driftloop_kit.settings import ServiceSettings


class Settings(ServiceSettings):
    """Read once, in `__main__`."""

    model_config = SettingsConfigDict(env_prefix="REGISTRY_")

    http_port: int = Field(default=5000, ge=0, le=65535)
    """Port to listen on; 0: a free one. 5000 is where MLflow's clients look first."""
    max_file_bytes: int = Field(default=2 * 1024**3, ge=1)
    """How large one uploaded file may be."""
