"""`mlflow-artifacts/...` and `artifacts/list`: files of runs and logged models, streamed both ways.

A client's path is the key of a manifest row; the bytes lie in the artifact store under their digest, verified at every read.
"""

import posixpath
import re
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import unquote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from driftloop_artifacts import ArtifactTooLarge
from registry.api.mlflow import shapes
from registry.api.mlflow.door import Call, Door, now_ms
from registry.api.mlflow.given import Given
from registry.handlers import Room
from registry.handlers.refused import absent, invalid, refused
from registry.ports.tracking import File

Json = dict[str, Any]
ARTIFACTS: Final = "/api/2.0/mlflow-artifacts/artifacts"
MAX_PATH_CHARS: Final = 1024


def checked_path(given: str) -> str:
    """The path as a key: relative, without `..`, however often it was escaped. Raises Refused."""
    path = given
    while (decoded := unquote(path)) != path:
        path = decoded
    bad = (
        not given
        or len(given) > MAX_PATH_CHARS
        or path.startswith("/")
        or any(sign in path for sign in ("\\", "\x00", "://"))
        or re.match(r"[A-Za-z]:", path)
        or any(part in ("", ".", "..") for part in path.split("/"))
    )
    if bad:
        raise invalid("Invalid path")
    return given


async def upload(door: Door, request: Request) -> Response:
    """The bytes are in the store, then the path leads to them."""
    path = checked_path(request.path_params["path"])
    counted = _Counted(request.stream())
    try:
        digest = await door.artifacts.put(aiter(counted), max_bytes=door.max_file_bytes)
    except ArtifactTooLarge as error:
        raise HTTPException(413, f"A file may have {door.max_file_bytes} bytes.") from error
    await door.ask(lambda room: room.files.put(path, str(digest), counted.size_bytes, now_ms()))
    return JSONResponse({})


class _Counted:
    """A body on its way through, and how long it was."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self.size_bytes = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            self.size_bytes += len(chunk)
            yield chunk


async def download(door: Door, request: Request) -> Response:
    """The verified bytes; a stream that breaks off before its length was not right."""
    path = checked_path(request.path_params["path"])
    found = await door.ask(lambda room: room.files.find(path))
    if found is None:
        raise await _nothing_at(door, path)
    digest, size_bytes = found
    chunks = aiter(door.artifacts.stream(digest))
    # The first chunk is asked for before the answer begins: a small file that is missing or corrupt is an error, not a stump.
    first = await anext(chunks, b"")
    headers = {
        "content-disposition": f"attachment; filename*=UTF-8''{_quoted(posixpath.basename(path))}",
        "content-length": str(size_bytes),
        "x-content-type-options": "nosniff",
    }
    return StreamingResponse(_whole(first, chunks), headers=headers, media_type="application/octet-stream")


async def _whole(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk


async def _nothing_at(door: Door, path: str) -> Exception:
    if await door.ask(lambda room: room.files.children(path)):
        return HTTPException(400, f"Artifact path refers to a directory, not a file: '{path}'")
    return absent(f"No such artifact: '{path}'")


async def remove(door: Door, request: Request) -> Response:
    """The file or folder is found no more."""
    path = checked_path(request.path_params["path"])
    if not await door.ask(lambda room: room.files.delete(path)):
        raise absent(f"No such artifact: '{path}'")
    return JSONResponse({})


async def list_folder(door: Door, given: Given) -> Json:
    folder = checked_path((given.text("path") or "").rstrip("/"))
    return _shown(await door.ask(lambda room: room.files.children(folder)))


async def list_run(door: Door, given: Given) -> Json:
    run_id, path = given.needed("run_id"), given.text("path")
    below = checked_path(path) if path else ""

    async def listed(room: Room) -> tuple[str, list[File]]:
        root = shapes.artifact_uri((await room.runs.get(run_id)).info)
        folder = posixpath.join(root.removeprefix("mlflow-artifacts:").strip("/"), below).rstrip("/")
        return root, await room.files.children(folder)

    root, found = await door.ask(listed)
    return {"root_uri": root} | _shown(found, below)


def _shown(found: list[File], below: str = "") -> Json:
    return shapes.without_empty(
        files=[
            {"path": posixpath.join(below, file.name), "is_dir": file.size_bytes is None}
            | shapes.without_empty(file_size=file.size_bytes)
            for file in found
        ]
    )


def _quoted(name: str) -> str:
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "._-") else "_" for sign in name)


async def no_multipart(door: Door, given: Given) -> Json:
    raise refused("ENDPOINT_NOT_FOUND", "Multipart uploads are not offered: PUT the whole file.")


CALLS: Final[dict[tuple[str, str], Call]] = {("GET", "artifacts/list"): list_run}
