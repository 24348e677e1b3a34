"""Why a document is refused, in words that say what was given and what is allowed."""

from typing import Any, Final

from pydantic import BaseModel, ValidationError

from driftloop_contracts.documents import ModelDeclaration, ViewDeclaration

# A person mends one mistake at a time; the rest would hide it.
MAX_TOLD: Final = 5
MAX_GIVEN_CHARS: Final = 80


def in_words(error: ValidationError, document: dict[str, Any]) -> str:
    """Each mistake with its place."""
    kind = ModelDeclaration if "model" in document else ViewDeclaration
    mistakes = error.errors(include_url=False, include_context=False)
    told = [
        _told(kind, mistake["loc"], mistake["type"], mistake["msg"], mistake["input"])
        for mistake in mistakes[:MAX_TOLD]
    ]
    more = [f"and {len(mistakes) - MAX_TOLD} more"] if len(mistakes) > MAX_TOLD else []
    return "; ".join(told + more)


def _told(kind: type[BaseModel], where: tuple[int | str, ...], what: str, message: str, given: Any) -> str:
    place = ".".join(str(step) for step in where)
    match what:
        case "extra_forbidden":
            return f"{place}: no such key; allowed here are {_allowed(kind, where[:-1])}"
        case "missing":
            return f"{place}: is needed"
        case _:
            said = message.removeprefix("Value error, ")
            return f"{place}: {said}, given {_short(given)}" if place and what != "value_error" else said


def _allowed(kind: type[BaseModel], where: tuple[int | str, ...]) -> list[str]:
    """The keys of the part of a document at this place."""
    for step in where:
        found = _part(kind, str(step))
        if found is not None:
            kind = found
    return sorted(kind.model_fields)


def _part(kind: type[BaseModel], step: str) -> type[BaseModel] | None:
    """The class of a field; of a mapping's values where the field is a mapping."""
    field = kind.model_fields.get(step)
    if field is None:
        return None
    return next((part for part in _classes(field.annotation) if issubclass(part, BaseModel)), None)


def _classes(annotation: Any) -> list[type]:
    inner = [found for part in getattr(annotation, "__args__", ()) for found in _classes(part)]
    return ([annotation] if isinstance(annotation, type) and not inner else []) + inner


def _short(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= MAX_GIVEN_CHARS else text[: MAX_GIVEN_CHARS - 1] + "…"
