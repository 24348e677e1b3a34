"""A service as its callers see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import httpx

ASK_WITHIN_S: Final = 20.0


class Door:
    """Asks at an address. The client of HTTP is imported when somebody asks: a service itself runs without it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str) -> httpx.Response:
        """What it answers. Raises httpx.TransportError when nobody does."""
        import httpx

        return httpx.get(f"{self.url}{path}", timeout=ASK_WITHIN_S, trust_env=False)

    def post(self, path: str, body: Any) -> httpx.Response:
        """What it answers to this JSON. Raises httpx.TransportError when nobody does."""
        import httpx

        return httpx.post(f"{self.url}{path}", json=body, timeout=ASK_WITHIN_S, trust_env=False)

    def page(self, path: str) -> Any:
        """A page's JSON; None where there is none, or nobody answers."""
        import httpx

        try:
            answer = self.get(path)
        except httpx.TransportError:
            return None
        return answer.json() if answer.status_code in (httpx.codes.OK, httpx.codes.SERVICE_UNAVAILABLE) else None

    def ready(self) -> dict[str, Any]:
        """What it says of itself; empty while it does not answer."""
        return dict(self.page("/ready") or {})
