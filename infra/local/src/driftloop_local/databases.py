"""A database per service and two roles: the owner migrates it, the login role runs the service and owns nothing."""

from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg


@dataclass(frozen=True)
class ServiceDatabase:
    """The two addresses of one service's database."""

    owner_url: str
    """For migrations only."""
    login_url: str
    """What the service itself gets: it reads and writes rows, and can neither create nor drop anything."""


def as_user(administrator_url: str, user: str, password: str, database: str) -> str:
    """The same server, another user and database."""
    parts = urlsplit(administrator_url)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{place}", path=f"/{database}"))


def in_database(administrator_url: str, database: str) -> str:
    return urlunsplit(urlsplit(administrator_url)._replace(path=f"/{database}"))


async def ensure_database(
    administrator_url: str, name: str, owner_password: str, login_password: str
) -> ServiceDatabase:
    """Afterwards the database and its two roles are there with these passwords. Safe to repeat."""
    owner = f"{name}_owner"
    connection = await asyncpg.connect(administrator_url, timeout=10)
    try:
        await ensure_role(connection, owner, owner_password)
        await ensure_role(connection, name, login_password)
        if not await connection.fetchval("select true from pg_database where datname = $1", name):
            await connection.execute(f"create database {quoted(name)} owner {quoted(owner)}")
    finally:
        await connection.close(timeout=10)
    await grant(in_database(administrator_url, name), name, owner)
    return ServiceDatabase(
        owner_url=as_user(administrator_url, owner, owner_password, name),
        login_url=as_user(administrator_url, name, login_password, name),
    )


async def ensure_role(connection: "asyncpg.Connection[asyncpg.Record]", role: str, password: str) -> None:
    exists = await connection.fetchval("select true from pg_roles where rolname = $1", role)
    verb = "alter" if exists else "create"
    await connection.execute(f"{verb} role {quoted(role)} with login password {literal(password)}")


async def grant(database_url: str, login: str, owner: str) -> None:
    """The login role may use what the owner has made and will make; nobody else may connect."""
    who, whose, database = quoted(login), quoted(owner), quoted(login)
    by_default = f"alter default privileges for role {whose} grant"
    connection = await asyncpg.connect(database_url, timeout=10)
    try:
        await connection.execute(f"""
            revoke all on database {database} from public;
            grant connect on database {database} to {who};
            grant usage on schema public to {who};
            {by_default} usage on schemas to {who};
            {by_default} select, insert, update, delete on tables to {who};
            {by_default} usage, select, update on sequences to {who};
            grant select, insert, update, delete on all tables in schema public to {who};
            grant usage, select, update on all sequences in schema public to {who};
        """)
    finally:
        await connection.close(timeout=10)


def quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
