"""What a person sees: a progress bar of downloads, one line for each part that gets ready, tables."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from driftloop_local.jars import KAFKA_VERSION, Fetched
from driftloop_local.record import PartStatus, Record

MIB: Final = 1024 * 1024
COLOURS: Final = {"ready": "green", "done": "green", "external": "green", "crash loop": "red", "failed": "red"}
console = Console(highlight=False, soft_wrap=True)
complaints = Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def download_bar(count: int) -> Iterator[Fetched]:
    """A bar over the jars, with their sum in MiB."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[mib]:.1f} MiB"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(f"Apache Kafka {KAFKA_VERSION}, once for this user", total=count, mib=0.0)
        total_bytes = 0

        def fetched(name: str, size_bytes: int) -> None:
            nonlocal total_bytes
            total_bytes += size_bytes
            progress.update(task, advance=1, mib=total_bytes / MIB)

        yield fetched


@dataclass
class Commentary:
    """Says each part's state once it is worth a line: when it is up, and when it fails."""

    said: dict[str, str] = field(default_factory=dict)

    def tell(self, record: Record) -> None:
        for part in record.parts.values():
            worth_a_line = part.is_up or part.state in ("failed", "crash loop")
            if worth_a_line and self.said.get(part.name) != part.state:
                self.said[part.name] = part.state
                console.print(f"  {coloured(part.state)} {part.name} {without_password(part.address)}".rstrip())
                if part.reason:
                    console.print(f"    {part.reason}", markup=False)


def coloured(state: str) -> str:
    colour = COLOURS.get(state, "yellow")
    return f"[{colour}]{state:<10}[/]"


def without_password(address: str | None) -> str:
    """For the screen: the whole address stands in `status --json`."""
    if address is None:
        return ""
    url = urlsplit(address)
    if url.password is None:
        return address
    return urlunsplit(url._replace(netloc=f"{url.username}:***@{url.netloc.rpartition('@')[2]}"))


def line_of(part: PartStatus) -> str:
    """One part on one line, its reason on a second."""
    pid = f"pid {part.pid}" if part.pid else ""
    facts = f"{pid:<12} restarts {part.restarts}  since {part.since[:19]}Z  {without_password(part.address)}"
    reason = f"\n{'':<11}{escape(part.reason)}" if part.reason else ""
    return f"{coloured(part.state)}  {part.name:<22}{facts}".rstrip() + reason
