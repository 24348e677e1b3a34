"""Dead letters as people read them. What strangers wrote may hold anything: nothing of it reaches a terminal unescaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from driftloop.cli.screen import say
from driftloop_bus.letters import Letter
from driftloop_contracts import rfc3339

NOTHING: Final = "–"
HEX_BYTES: Final = 16
MESSAGE: Final = 60


def table_of(letters: Sequence[Letter]) -> Table:
    """A row each."""
    made = Table("topic", "group", "letter", "parked", "from", "error", "message", "redriven", box=None, pad_edge=False)
    for one in letters:
        made.add_row(*(Text(plain(cell)) for cell in _row(one)))
    return made


def _row(letter: Letter) -> tuple[str, ...]:
    about, original = letter.about, letter.original
    message = about.get("message", "")
    return (
        original.topic,
        about["group"],
        f"{letter.place.partition}:{letter.place.offset}",
        moment(letter.parked_at_ms)[:19],
        f"{original.partition}@{original.offset}",
        about.get("error", NOTHING),
        message if len(message) <= MESSAGE else message[: MESSAGE - 1] + "…",
        (letter.redriven_at or "no")[:19],
    )


def as_json(letter: Letter) -> dict[str, Any]:
    """For programs; bytes that are no text as hex."""
    original = letter.original
    return {
        "letter": letter.name,
        "topic": original.topic,
        "group": letter.about["group"],
        "partition": original.partition,
        "offset": original.offset,
        "logged_at": moment(original.timestamp_ms),
        "parked_at": moment(letter.parked_at_ms),
        "event_id": letter.event_id,
        "key": original.key and text_or_hex(original.key),
        "headers": [[name, text_or_hex(value)] for name, value in original.headers],
        "size_bytes": letter.size_bytes,
        "by_reference": letter.by_reference,
        "redriven_at": letter.redriven_at,
        **{name: letter.about.get(name) for name in ("error", "message", "attempts", "service_version", "traceback")},
    }


def show(letter: Letter) -> None:
    """Everything: where it came from, why it was parked, its headers and its very bytes."""
    original, about = letter.original, letter.about
    say(f"{letter.name}, parked {moment(letter.parked_at_ms)}, redriven: {letter.redriven_at or 'no'}")
    say(f"from      {original.position}, logged {moment(original.timestamp_ms)}")
    say(f"group     {plain(about['group'])}, version {plain(about.get('service_version') or NOTHING)}")
    say(f"error     {plain(about.get('error', NOTHING))} after {plain(about.get('attempts', '?'))} attempts")
    say(f"message   {plain(about.get('message', ''))}")
    say(f"key       {NOTHING if original.key is None else text_or_hex(original.key)}")
    for name, value in original.headers:
        say(f"header    {plain(name)}: {text_or_hex(value)}")
    for line in about.get("traceback", "").splitlines():
        say(f"  {plain(line)}")
    _show_value(letter)


def _show_value(letter: Letter) -> None:
    value = letter.original.value
    where = ", read where it lies: the letter holds a reference" if letter.by_reference else ""
    if value is None:
        gone = "the log does not hold it any more" if letter.by_reference else "null"
        say(f"value     {gone}")
    elif is_text(value):
        say(f"value     {len(value)} bytes of text{where}")
        for line in value.decode().split("\n"):
            say(line)
    else:
        say(f"value     {len(value)} bytes{where}")
        for start in range(0, len(value), HEX_BYTES):
            say(f"{start:08x}  {value[start : start + HEX_BYTES].hex(' ')}")


def told(counts: Mapping[str, int], *, dry: bool) -> None:
    """What became of the letters, a line each."""
    for what, count in counts.items():
        if count:
            say(f"{count} {'would be ' if dry and what == 'redriven' else ''}{what}")
    if not any(counts.values()):
        say("no dead letters")


def is_text(value: bytes) -> bool:
    """Whether it can be shown as it is."""
    try:
        return value.decode().replace("\n", "").replace("\t", "").isprintable()
    except UnicodeDecodeError:
        return False


def text_or_hex(value: bytes) -> str:
    """In one line."""
    return plain(value.decode()) if is_text(value) else f"0x{value.hex()}"


def plain(text: str) -> str:
    """In one line, without anything that a terminal would obey."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def moment(since_1970_ms: int) -> str:
    """RFC 3339."""
    return rfc3339(datetime.fromtimestamp(since_1970_ms / 1000, UTC))
