"""Zip archives of one kind: stored, flat, without dates. Equal content gives equal bytes, and nothing can inflate."""

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any, Final

from driftloop_models.refusal import ModelRefused

# Beyond this an archive is an attack or a mistake, not a model: some thousand boosted trees.
MAX_ENTRIES: Final = 1000
EPOCH: Final = (1980, 1, 1, 0, 0, 0)


def pack(contents: Mapping[str, bytes]) -> bytes:
    """The archive of these members, in order of their names. Raises ModelRefused beyond MAX_ENTRIES."""
    if len(contents) > MAX_ENTRIES:
        raise ModelRefused(f"{len(contents)} parts in one archive; allowed: {MAX_ENTRIES}. Train fewer trees")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(contents):
            archive.writestr(zipfile.ZipInfo(name, EPOCH), contents[name])
    return buffer.getvalue()


def members(data: bytes, max_entries: int = MAX_ENTRIES) -> dict[str, bytes]:
    """Name to content. Raises ModelRefused for what `pack` does not write: compression, folders, links, twins."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if len(entries) > max_entries:
                raise ModelRefused(f"{len(entries)} parts in one archive; allowed: {max_entries}")
            for entry in entries:
                _check(entry)
            names = [entry.filename for entry in entries]
            if len(set(names)) != len(names):
                raise ModelRefused("the archive holds two parts of one name")
            return {name: archive.read(name) for name in names}
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError, UnicodeDecodeError) as reason:
        raise ModelRefused(f"not a readable zip archive: {reason}") from reason


def json_bytes(document: Any) -> bytes:
    """Canonical JSON: sorted keys, no spaces, no NaN."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()


def json_of(inside: Mapping[str, bytes], name: str) -> Any:
    """The JSON document of that name. Raises ModelRefused where there is none, or one that cannot be read."""
    if name not in inside:
        raise ModelRefused(f"the archive lacks {name}; it has {', '.join(sorted(inside)[:10]) or 'nothing'}")
    try:
        return json.loads(inside[name])
    except (ValueError, RecursionError) as reason:
        raise ModelRefused(f"{name} is no JSON: {reason}") from reason


def _check(entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 0x1 or entry.compress_size != entry.file_size:
        raise ModelRefused(f"{name!r} is compressed or encrypted; allowed: stored")
    if not name or "/" in name or "\\" in name or name.startswith(".") or entry.external_attr >> 28 == 0xA:
        raise ModelRefused(f"{name!r} is a folder, a link or a path; allowed: plain names")
