"""Whether today's schemas still speak with those of the last commit, both ways.

The only free change is a new optional field. Anything else (removed, newly required, retyped, re-bounded, an enum narrowed
or widened) breaks a reader or a writer that was deployed on another day, and needs a new major on a new topic.
`python -m driftloop_contracts.compatibility [REVISION]` compares with git's REVISION (HEAD).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from driftloop_contracts.schemas import generated

# Words of JSON Schema that decide which values are valid; prose (title, description, default) decides nothing.
_DECIDING: Final = (
    "type", "const", "enum", "format", "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength",
    "maxLength", "minItems", "maxItems", "minProperties", "propertyNames",
)  # fmt: skip

Schema = dict[str, Any]


def breaks(old: Schema, new: Schema) -> list[str]:
    """What of `new` breaks a peer that still lives by `old`; empty when both can speak with each other."""
    return list(_compare(old, new, old, new, "", ()))


def _resolved(node: Schema, root: Schema) -> Schema:
    while "$ref" in node:
        node = root["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    return node


def _compare(
    old: Schema, new: Schema, old_root: Schema, new_root: Schema, at: str, above: tuple[int, ...]
) -> Iterator[str]:
    old, new = _resolved(old, old_root), _resolved(new, new_root)
    if id(old) in above:
        return
    above = (*above, id(old))
    where = at or "the event"
    for word in _DECIDING:
        if old.get(word) != new.get(word):
            yield f"{where}: {word} was {old.get(word)!r}, is {new.get(word)!r}"
    yield from _compare_fields(old, new, old_root, new_root, at, above)
    for word in ("items", "additionalProperties"):
        before, after = old.get(word), new.get(word)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _compare(before, after, old_root, new_root, f"{at}[]", above)
        elif before != after:
            yield f"{where}: {word} was {before!r}, is {after!r}"
    yield from _compare_choices(old, new, old_root, new_root, at, above)


def _compare_fields(
    old: Schema, new: Schema, old_root: Schema, new_root: Schema, at: str, above: tuple[int, ...]
) -> Iterator[str]:
    before, after = old.get("properties", {}), new.get("properties", {})
    for name in sorted(before.keys() - after.keys()):
        yield f"{at}.{name}: was removed"
    for name in sorted(set(new.get("required", [])) - set(old.get("required", []))):
        yield f"{at}.{name}: is newly required"
    for name in sorted(set(old.get("required", [])) - set(new.get("required", []))):
        yield f"{at}.{name}: is no longer required, and yesterday's readers need it"
    for name in sorted(before.keys() & after.keys()):
        yield from _compare(before[name], after[name], old_root, new_root, f"{at}.{name}", above)


def _compare_choices(
    old: Schema, new: Schema, old_root: Schema, new_root: Schema, at: str, above: tuple[int, ...]
) -> Iterator[str]:
    for word in ("anyOf", "oneOf", "allOf", "prefixItems"):
        before, after = old.get(word, []), new.get(word, [])
        if len(before) != len(after):
            yield f"{at or 'the event'}: {word} had {len(before)} choices, has {len(after)}"
        for place, (one, other) in enumerate(zip(before, after, strict=False)):
            yield from _compare(one, other, old_root, new_root, f"{at}<{place}>", above)


def committed(revision: str, repository: Path) -> dict[str, Schema]:
    """The schemas at a git revision, by file name. Empty where the revision has none yet."""
    listing = subprocess.run(
        ["git", "ls-tree", "--name-only", revision, "contracts/schemas/"],
        cwd=repository, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    shown = {
        name: subprocess.run(
            ["git", "show", f"{revision}:{name}"], cwd=repository, capture_output=True, text=True, check=True
        )
        for name in listing
    }
    return {name.removeprefix("contracts/"): json.loads(process.stdout) for name, process in shown.items()}


def violations(revision: str, repository: Path) -> list[str]:
    """Everything in which today's classes break with the schemas of `revision`."""
    today = {name: json.loads(text) for name, text in generated().items()}
    found = []
    for name, old in committed(revision, repository).items():
        if name not in today:
            found.append(f"{name}: the event was removed")
        else:
            found += [f"{name}{line}" for line in breaks(old, today[name])]
    return found


def main() -> int:
    """0 when nothing breaks; else prints what does, and what to do."""
    revision = sys.argv[1] if len(sys.argv) > 1 else "HEAD"
    found = violations(revision, Path.cwd())
    for line in found:
        sys.stderr.write(line + "\n")
    if found:
        sys.stderr.write(f"{len(found)} breaking changes against {revision}: use a new major on a new topic\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
