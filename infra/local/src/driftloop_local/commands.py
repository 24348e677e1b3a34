"""`driftloop up | down | status | doctor`."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from driftloop_local.children import identity_of, is_alive
from driftloop_local.doctor import examine
from driftloop_local.errors import StackRefused
from driftloop_local.home import Home
from driftloop_local.launch import Launched, launch, stop, wait_until_ready
from driftloop_local.record import Record, read_record
from driftloop_local.screen import Commentary, complaints, console, download_bar, line_of
from driftloop_local.services import INFRASTRUCTURE
from driftloop_local.wanted import Wanted, chosen_parts

GONE_WITHIN_S: Final = 30.0
NOTHING_RUNS: Final = 3


def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when everything is ready.")] = False,
    only: Annotated[str, typer.Option(help="Names of parts, by comma; a service brings Kafka and Postgres.")] = "",
    with_services: Annotated[
        bool, typer.Option("--with-services/--infra-only", help="With our services or without.")
    ] = True,
    code_path: Annotated[Path | None, typer.Option(help="Folder of the models' training functions.")] = None,
    timeout_s: Annotated[float, typer.Option(help="How long everything may take to get ready.")] = 180.0,
) -> None:
    """Start Kafka, Postgres and the services here, or attach to those that run already."""
    with refusals_said():
        home, wanted = Home.here(), what_is_wanted(only, with_services, code_path)
        began_at = time.monotonic()
        launched = launch(home, wanted, download_bar, dies_with_caller=not detach)
        console.print(f"{'attached to' if launched.attached else 'started'} supervisor {launched.pid} of {home.folder}")
        with stopped_on_failure(home, unless=detach or launched.attached):
            record = wait_until_ready(home, wanted, timeout_s, Commentary().tell)
            console.print(f"everything is ready after {time.monotonic() - began_at:.1f} s")
            say_missing(record)
            if not detach:
                stay(home, launched)


def what_is_wanted(only: str, with_services: bool, code_path: Path | None) -> Wanted:
    names = [name.strip() for name in only.split(",") if name.strip()] or (None if with_services else INFRASTRUCTURE)
    return Wanted(chosen_parts(names), str(code_path.resolve()) if code_path else "")


def say_missing(record: Record) -> None:
    if record.missing:
        console.print(f"not installed here, so not started: {', '.join(record.missing)} (`make setup` installs them)")


def stay(home: Home, launched: Launched) -> None:
    """Until Ctrl-C, SIGTERM, or the end of the supervisor. Whoever started the stack takes it down with it."""
    console.print("Ctrl-C detaches" if launched.attached else "Ctrl-C stops everything")
    supervisor = identity_of(launched.pid)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while supervisor is not None and is_alive(supervisor):
            time.sleep(0.2)
        console.print("the supervisor has ended")
    except KeyboardInterrupt:
        if not launched.attached:
            console.print("stopping")
            stop(home, GONE_WITHIN_S)


@contextmanager
def stopped_on_failure(home: Home, unless: bool) -> Iterator[None]:
    """In the foreground nothing is left of a start that failed or was broken off; detached it stays, to be looked at."""
    try:
        yield
    except (StackRefused, KeyboardInterrupt):
        if not unless:
            stop(home, GONE_WITHIN_S)
        raise


def down() -> None:
    """Stop the services, then Kafka and Postgres. The data stay."""
    with refusals_said():
        home = Home.here()
        was_running = stop(home, GONE_WITHIN_S)
        console.print(f"stopped {home.folder}" if was_running else f"nothing runs in {home.folder}")


def status(
    as_json: Annotated[bool, typer.Option("--json", help="All of it, addresses with passwords too.")] = False,
) -> None:
    """What runs, where, since when. Exit 0: all ready; 1: something is not; 3: nothing runs."""
    home = Home.here()
    record = read_record(home)
    if as_json:
        typer.echo(json.dumps(described(home, record), indent=2))
    else:
        console.print(f"{state_of(record)}: {home.folder}")
        for part in record.parts.values():
            console.print(line_of(part))
        say_missing(record)
    raise typer.Exit({"ready": 0, "down": NOTHING_RUNS}.get(state_of(record), 1))


def described(home: Home, record: Record) -> dict[str, Any]:
    """The record, its state in a word, and every address by the name of its part."""
    addresses = {part.name: part.address for part in record.parts.values() if part.address is not None}
    return {"state": state_of(record), "home": str(home.folder), "addresses": addresses, **record.to_json()}


def state_of(record: Record) -> str:
    if not record.is_running:
        return "down"
    return "ready" if record.parts and all(part.is_up for part in record.parts.values()) else "not ready"


def doctor() -> None:
    """Look whether this machine is fit for the stack, and say the next step where it is not."""
    healthy = True
    for finding in examine(Home.here()):
        mark = "[green]ok  [/]" if finding.fine else "[red]lack[/]"
        console.print(f"{mark} {finding.subject}: {finding.saw}")
        if not finding.fine:
            healthy = False
            console.print(f"     next step: {finding.next_step}")
    raise typer.Exit(0 if healthy else 1)


@contextmanager
def refusals_said() -> Iterator[None]:
    """What is missing and the next step go to the person, without a traceback."""
    try:
        yield
    except StackRefused as refusal:
        complaints.print(str(refusal), markup=False)
        raise typer.Exit(1) from refusal
