"""What an MLflow client sent, field by field. A field that is wrong is refused in MLflow's words; unknown ones are ignored."""

import json
import posixpath
import re
from collections.abc import Mapping
from typing import Any, Final

from registry.handlers.refused import invalid

_SEE: Final = " See the API docs for more information about request parameters."
_INT64: Final = 2**63
MAX_KEY_CHARS: Final = 250
# float8 has infinities, JSON has none: MLflow stores the greatest number instead.
GREATEST: Final = 1.7976931348623157e308
_REALS: Final = {"NaN": float("nan"), "Infinity": GREATEST, "-Infinity": -GREATEST}
_KEY: Final = re.compile(r"[/\w.\- :]*")
_KEY_RULE: Final = (
    "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and "
    "slashes (/)."
)


class Given:
    """One request, or one object inside it (`place` is then like `metrics[0].`)."""

    def __init__(self, fields: Mapping[str, Any], *, in_query: bool = False, place: str = "") -> None:
        self._fields = fields
        self._in_query = in_query
        self._place = place

    @property
    def place(self) -> str:
        """Where it stands in the request, as a prefix of its fields' names."""
        return self._place

    def unplaced(self) -> "Given":
        """The same object, its fields named without their place: so MLflow does, in some calls."""
        return Given(self._fields)

    def text(self, name: str, *, needed: bool = False, max_chars: int | None = None, what: str = "") -> str | None:
        """A string; None when absent. `needed` refuses the empty one too."""
        value = self._fields.get(name)
        if self._in_query and isinstance(value, list):
            value = value[-1]
        if value is None or (needed and value == ""):
            self._absent(name, needed)
            return None
        if not isinstance(value, str):
            raise self.wrong(name, value)
        if "\x00" in value:
            raise invalid(f"Invalid value for parameter '{self._place}{name}' supplied: it contains a NUL character.")
        if max_chars is not None and len(value) > max_chars:
            raise too_long(what or f"{self._place}{name}", max_chars)
        return value

    def needed(self, name: str, *, max_chars: int | None = None, what: str = "") -> str:
        """A string that must be there."""
        value = self.text(name, needed=True, max_chars=max_chars, what=what)
        assert value is not None
        return value

    def whole(self, name: str, *, needed: bool = False) -> int | None:
        """A 64-bit integer: a JSON number, or digits in a query."""
        value = self._fields.get(name)
        if value is None:
            self._absent(name, needed)
            return None
        given = value[-1] if self._in_query and isinstance(value, list) else value
        if self._in_query and isinstance(given, str) and re.fullmatch(r"-?\d{1,19}", given):
            value = int(given)
        if isinstance(value, bool) or not isinstance(value, int) or not -_INT64 <= value < _INT64:
            raise self.wrong(name, given)
        return value

    def real(self, name: str) -> float:
        """A number that must be there, or MLflow's words for what JSON can't say."""
        value = self._fields.get(name)
        if value is None:
            self._absent(name, True)
        if isinstance(value, str) and value in _REALS:
            return _REALS[value]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(name, value)
        try:
            return max(-GREATEST, min(GREATEST, float(value))) if value == value else float(value)
        except OverflowError:
            raise self.wrong(name, value) from None

    def flag(self, name: str) -> bool:
        """A boolean; False when absent."""
        value = self._fields.get(name, False)
        given = value[-1] if self._in_query and isinstance(value, list) else value
        if self._in_query and isinstance(given, str) and given.lower() in ("true", "false"):
            return given.lower() == "true"
        if not isinstance(given, bool):
            raise self.wrong(name, given)
        return given

    def texts(self, name: str, *, needed: bool = False) -> list[str]:
        """A list of strings; in a query, a repeated field."""
        value = self._fields.get(name)
        if value is None:
            self._absent(name, needed)
            return []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(name, value)
        return value

    def parts(self, name: str, *, needed: bool = False, plain: bool = False) -> list["Given"]:
        """A list of objects. plain: their fields are named without their place."""
        value = self._fields.get(name)
        if value is None:
            self._absent(name, needed)
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.wrong(name, value)
        return [Given(item, place="" if plain else f"{self._place}{name}[{i}].") for i, item in enumerate(value)]

    def part(self, name: str) -> "Given":
        """An object that must be there."""
        value = self._fields.get(name)
        if value is None:
            self._absent(name, True)
        if not isinstance(value, dict):
            raise self.wrong(name, value)
        return Given(value, place=f"{self._place}{name}.")

    def key(self, name: str = "key", *, shown: str = "key", what: str = "") -> str:
        """A name of a metric, param or tag: `shown` is what MLflow calls the field, `what` the thing that is too long."""
        value = self.needed(name)
        check_name(value, f"{self._place}{shown}")
        if len(value) > MAX_KEY_CHARS:
            raise too_long(what or f"{self._place}{name}", MAX_KEY_CHARS)
        return value

    def wrong(self, name: str, value: Any) -> Exception:
        """The field has a type that it can't have."""
        return invalid(
            f"Invalid value {json.dumps(value)} for parameter '{self._place}{name}' supplied:  "
            f"Hint: Value was of type '{type(value).__name__}'.{_SEE}"
        )

    def missing(self, name: str) -> Exception:
        """The field is not there."""
        return invalid(f"Missing value for required parameter '{self._place}{name}'.{_SEE}")

    def _absent(self, name: str, needed: bool) -> None:
        if needed:
            raise self.missing(name)


def too_long(what: str, max_chars: int) -> Exception:
    """Longer than MLflow keeps it."""
    return invalid(f"'{what}' exceeds the maximum length of {max_chars} characters")


def check_name(value: str, shown: str) -> None:
    """Raises Refused for a name that MLflow's clients could not keep as a file."""
    if not _KEY.fullmatch(value):
        raise invalid(f"Invalid value {json.dumps(value)} for parameter '{shown}' supplied: {_KEY_RULE}")
    resolved = posixpath.normpath(value)
    if resolved != value or resolved == "." or resolved.startswith(("..", "/")):
        raise invalid(
            f"Invalid value {json.dumps(value)} for parameter '{shown}' supplied: Names may be treated as files in certain "
            "cases, and must not resolve to other names when treated as such. This name would resolve to "
            f"'{resolved}'"
        )
