"""The HTTP door: one guard in front of every route, one table of errors, the pages that every service has."""

from driftloop_kit.http.errors import say, status_of

__all__ = ["say", "status_of"]
