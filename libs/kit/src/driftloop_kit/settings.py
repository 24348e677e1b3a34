"""What differs between places. A service subclasses it with `env_prefix="<NAME>_"` and adds its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from pydantic import Field, PostgresDsn, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class ConfigurationRefused(Exception):
    """This place must be configured otherwise before the service may run in it. The process ends with 78 (EX_CONFIG)."""


class ServiceSettings(BaseSettings):
    """What every service is told by its place. Read once, in `__main__`; printed at start without secrets."""

    model_config = SettingsConfigDict(
        frozen=True, use_attribute_docstrings=True, populate_by_name=True, extra="ignore", hide_input_in_errors=True
    )

    http_host: str = "127.0.0.1"
    """Address to listen on. Other than loopback only with an API key."""
    http_port: int = Field(ge=0, le=65535)
    """Port to listen on; 0: a free one."""
    database_url: PostgresDsn | None = None
    """This service's own database. Absent for a service that keeps nothing."""
    kafka: str = Field(validation_alias="DRIFTLOOP_KAFKA", min_length=3)
    """Bootstrap servers, `host:port[,host:port]`."""
    artifacts: str | None = Field(default=None, validation_alias="DRIFTLOOP_ARTIFACTS")
    """URL of the artifact store, for services that have to do with bytes."""
    history: str | None = Field(default=None, validation_alias="DRIFTLOOP_HISTORY")
    """Where the Delta tables lie, for the feature store."""
    data: Path = Field(default=Path("data"), validation_alias="DRIFTLOOP_DATA")
    """A folder of this service alone: spools, scratch."""
    mode: Literal["local", "production"] = Field(default="local", validation_alias="DRIFTLOOP_MODE")
    """`local` trusts whoever can reach the loopback; `production` refuses to start where something is left open."""
    api_key: SecretStr | None = Field(default=None, validation_alias="DRIFTLOOP_API_KEY")
    """The key that callers show as Bearer token or Basic password. Without one only the loopback may call."""
    http_names: tuple[str, ...] = Field(default=(), validation_alias="DRIFTLOOP_HTTP_NAMES")
    """Further names under which callers reach the service (`Host`), as a JSON list. Loopback names always work."""
    drain_s: float = Field(default=0.0, ge=0, le=5, validation_alias="DRIFTLOOP_DRAIN_S")
    """After SIGTERM: how long to go on answering, not ready, until a load balancer has noticed. Behind one: 2."""
    failpoints: str = Field(default="", validation_alias="DRIFTLOOP_FAILPOINTS")
    """Where tests make the process die (`driftloop_bus.failpoints`); refused in production."""
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", validation_alias="DRIFTLOOP_LOG_LEVEL"
    )

    def needed(self, name: str) -> str:
        """The setting of this name as text. Raises ConfigurationRefused, naming the variable, when the place did not give it."""
        value = getattr(self, name)
        if value is None:
            alias = type(self).model_fields[name].validation_alias
            raise ConfigurationRefused(
                f"{alias or str(self.model_config.get('env_prefix', '')) + name.upper()} is not set"
            )
        return str(value)


S = TypeVar("S", bound=ServiceSettings)


class _DatabaseSettings(BaseSettings):
    database_url: PostgresDsn


def from_environment(settings: type[S]) -> S:
    """The settings as the place gives them. Raises pydantic's ValidationError for what is missing or wrong."""
    return cast(Callable[[], S], settings)()


def database_url_of(settings: type[ServiceSettings]) -> str:
    """`<NAME>_DATABASE_URL` alone: whoever migrates need not know where Kafka is. Raises ValidationError without it."""
    given: dict[str, Any] = {"_env_prefix": settings.model_config.get("env_prefix", "")}
    return str(_DatabaseSettings(**given).database_url)
