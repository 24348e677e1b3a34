"""From a URL to the store behind it."""

from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from obstore.store import LocalStore, MemoryStore, from_url

from driftloop_artifacts.errors import StoreUnavailable

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

REMOTE_SCHEMES: Final = ("s3", "gs", "az")
ALLOWED: Final = "file:///folder, s3://bucket/prefix, gs://bucket/prefix, az://account/container/prefix, memory://"


def open_place(url: str, *, deadline_s: float) -> "ObjectStore":
    """The object store at this URL; a local folder is made when it is not there.

    Raises ValueError for a URL of another form, StoreUnavailable when the folder cannot be made.
    """
    parts = urlsplit(url)
    match parts.scheme:
        case "memory":
            return MemoryStore()
        case "file" if parts.netloc == "" and parts.path.startswith("/"):
            return _folder(unquote(parts.path))
        case scheme if scheme in REMOTE_SCHEMES and parts.netloc:
            return from_url(url, client_options=_client(deadline_s), retry_config=_retries(deadline_s))
    raise ValueError(f"an artifact store is one of {ALLOWED}; got {url!r}")


def _folder(path: str) -> LocalStore:
    try:
        return LocalStore(prefix=path, mkdir=True)
    except OSError as error:
        raise StoreUnavailable("opening", f"file://{path}", str(error)) from error


def _client(deadline_s: float) -> "ClientConfig":
    return {"timeout": timedelta(seconds=deadline_s), "connect_timeout": timedelta(seconds=min(5.0, deadline_s))}


def _retries(deadline_s: float) -> "RetryConfig":
    return {"max_retries": 3, "retry_timeout": timedelta(seconds=deadline_s)}
