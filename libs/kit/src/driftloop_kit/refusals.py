"""What a service refuses to start with. A refusal names the setting and ends the process with 78 (EX_CONFIG)."""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import parse_qs, urlsplit

from driftloop_bus.failpoints import parse
from driftloop_kit.database import Connection
from driftloop_kit.settings import ConfigurationRefused, ServiceSettings

MIN_KEY_CHARACTERS: Final = 40


def refuse_settings(settings: ServiceSettings) -> None:
    """Raises ConfigurationRefused when the settings leave something open."""
    key = settings.api_key.get_secret_value() if settings.api_key else ""
    if not key and not is_loopback(settings.http_host):
        raise ConfigurationRefused(
            f"http_host is {settings.http_host}: other than loopback only with DRIFTLOOP_API_KEY set"
        )
    if key and len(key) < MIN_KEY_CHARACTERS:
        raise ConfigurationRefused(
            f"DRIFTLOOP_API_KEY has {len(key)} characters, at least {MIN_KEY_CHARACTERS} are needed"
        )
    try:
        parse(settings.failpoints)
    except ValueError as error:
        raise ConfigurationRefused(f"DRIFTLOOP_FAILPOINTS: {error}") from error
    if settings.mode == "production":
        _refuse_in_production(settings, key)


def _refuse_in_production(settings: ServiceSettings, key: str) -> None:
    if settings.failpoints:
        raise ConfigurationRefused("DRIFTLOOP_FAILPOINTS is set: production does not die on demand")
    if not key:
        raise ConfigurationRefused("DRIFTLOOP_API_KEY is not set: production does not answer without a key")
    query = parse_qs(urlsplit(str(settings.database_url or "")).query)
    if settings.database_url and query.get("sslmode") != ["verify-full"]:
        raise ConfigurationRefused("database_url needs ?sslmode=verify-full in production")
    # The client speaks PLAINTEXT only, so far: rather no production than an open one.
    raise ConfigurationRefused(
        "DRIFTLOOP_KAFKA is reached in PLAINTEXT: production needs SASL_SSL or mTLS, not there yet"
    )


async def refuse_database(connection: Connection, mode: str) -> None:
    """Raises ConfigurationRefused when the database would lose what it acknowledged, or this role may do too much."""
    if await connection.fetchval("SHOW synchronous_commit") == "off":
        raise ConfigurationRefused("synchronous_commit is off: a crash of Postgres would lose what was acknowledged")
    if mode == "production":
        await _refuse_powerful_role(connection)


async def _refuse_powerful_role(connection: Connection) -> None:
    if await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
        raise ConfigurationRefused("database_url logs in as a superuser: production needs a role that owns nothing")
    if await connection.fetchval("SELECT true FROM pg_tables WHERE tableowner = current_user LIMIT 1"):
        raise ConfigurationRefused(
            "database_url logs in as an owner of tables: production needs a role that owns nothing"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
