"""What is wrong with a document, in words that say what was given and what is allowed.

The command line and the registry refuse with the same words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from driftloop_contracts.documents import ModelDeclaration, ViewDeclaration, parse_document

MAX_GIVEN_CHARS: Final = 80
Place = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing to mend."""

    place: Place
    """The keys that lead to it; empty where the document as a whole is meant."""
    words: str

    def __str__(self) -> str:
        where = ".".join(str(step) for step in self.place if step != "[key]")
        return self.words if self.words.startswith(where) else f"{where}: {self.words}"


def mistakes(document: dict[str, Any]) -> list[Mistake]:
    """Everything that keeps the document from being applied; nothing when it is sound."""
    try:
        parse_document(document)
    except ValidationError as error:
        kind = ModelDeclaration if "model" in document else ViewDeclaration
        found = error.errors(include_url=False, include_context=False)
        return [_mistake(kind, one["loc"], one["type"], one["msg"], one["input"]) for one in found]
    except ValueError as error:
        return [Mistake((), str(error))]
    return []


def _mistake(kind: type[BaseModel], place: Place, what: str, message: str, given: Any) -> Mistake:
    match what:
        case "extra_forbidden":
            return Mistake(place, f"no such key; allowed here are {', '.join(_allowed(kind, place[:-1]))}")
        case "missing":
            return Mistake(place, "is needed")
    said = message.removeprefix("Value error, ")
    # Our own rules say themselves what was given.
    told = said if what == "value_error" else f"{said}, given {_short(given)}"
    return Mistake(place or _named_first(said), told)


def _named_first(said: str) -> Place:
    """The key that a rule over a whole document names with its first word: `gate.slices name ...`."""
    steps = tuple(said.partition(" ")[0].split("."))
    return steps if steps[0] in ModelDeclaration.model_fields else ()


def _allowed(kind: type[BaseModel], place: Place) -> list[str]:
    """The keys of the part of a document at this place."""
    for step in place:
        found = _part(kind, str(step))
        kind = found or kind
    return sorted(kind.model_fields)


def _part(kind: type[BaseModel], step: str) -> type[BaseModel] | None:
    """The class of a field; of a mapping's values where the field is a mapping."""
    field = kind.model_fields.get(step)
    classes = _classes(field.annotation) if field else []
    return next((part for part in classes if issubclass(part, BaseModel)), None)


def _classes(annotation: Any) -> list[type]:
    inner = [found for part in getattr(annotation, "__args__", ()) for found in _classes(part)]
    return ([annotation] if isinstance(annotation, type) and not inner else []) + inner


def _short(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= MAX_GIVEN_CHARS else text[: MAX_GIVEN_CHARS - 1] + "…"
