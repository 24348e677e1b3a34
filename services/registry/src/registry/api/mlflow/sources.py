"""Where the bytes of a registered version may lie. A source is kept as a word: nothing here ever opens it."""

import re
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from registry.handlers.refused import invalid

# These address a host that the client chose; nothing of ours would read them, so nothing is promised.
_HOSTS: Final = ("http", "https", "ftp", "sftp")


def checked(source: str, run_id: str | None, *, prompt: bool) -> str:
    """The source as it is kept. Raises Refused for a local path, a path with `..`, a bare bucket."""
    if prompt:
        return source
    scheme = urlsplit(source).scheme if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", source) else ""
    if scheme in _HOSTS:
        raise invalid(
            f"'source' cannot use the '{scheme}' scheme: the '{scheme}' scheme addresses a host other than the tracking "
            "server's configured artifact storage, so the server would connect to the host named in the URI. Set the "
            "MLFLOW_ALLOWED_HOST_ADDRESSED_ARTIFACT_SCHEMES environment variable on the server to allow it."
        )
    if scheme in ("", "file"):
        raise _local(unquote(urlsplit(source).path) if scheme else source)
    if scheme == "runs":
        return _of_run(source, run_id)
    if scheme not in ("models", "driftloop-artifacts") and not _absolute(source):
        raise invalid(
            f"Invalid model version source: '{source}'. If supplying a source as an http, https, local file path, ftp, "
            "objectstore, or mlflow-artifacts uri, an absolute path must be provided without relative path references present. "
            "Please provide an absolute path."
        )
    return source


def _of_run(source: str, run_id: str | None) -> str:
    if run_id is not None and source.removeprefix("runs:").lstrip("/").split("/")[0] != run_id:
        raise invalid(
            f"Invalid model version source: '{source}'. The run_id request parameter must identify the resource that contains "
            "the source."
        )
    return source


def _local(path: str) -> Any:
    return invalid(
        f"Invalid model version source: '{path}'. To use a local path as a model version source, the run_id request parameter "
        "has to be specified and the local path has to be contained within the artifact directory of the run specified by the "
        "run_id."
    )


def _absolute(source: str) -> bool:
    """A path after the host, without `..`, however often it was escaped."""
    path = urlsplit(source).path
    while (decoded := unquote(path)) != path:
        path = decoded
    return bool(path.strip("/")) and ".." not in re.split(r"[/\\]", path)
