"""What differs between places."""

from __future__ import annotations

from pydantic_settings import SettingsConfigDict

from driftloop_kit.settings import ServiceSettings


class Settings(ServiceSettings):
    """The feature store's settings, `FEATURE_STORE_...`."""

    model_config = SettingsConfigDict(env_prefix="FEATURE_STORE_", frozen=True)

    project: str = "driftloop"
    """The name under which Feast clients know this store."""
