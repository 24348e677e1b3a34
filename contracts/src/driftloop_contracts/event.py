"""What every event is: one frozen fact, with an id, a time and the event that caused it.

The envelope is CloudEvents 1.0; on Kafka its attributes travel as `ce_*` headers and the value is the data alone
(`driftloop_bus.codec`). Here stand only the types, so that nobody needs a broker to speak of events.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, Generic, Self, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer

# Derived ids live in a namespace of their own, so an id from outside can never equal one that we derived.
NAMESPACE: Final = uuid.UUID("6b1f9c52-54f1-5c5e-9d0e-0d1f7100d21f")


def rfc3339(moment: datetime) -> str:
    """The moment in UTC, with microseconds only where there are any."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


Time = Annotated[AwareDatetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]
"""A moment with its offset; naive times are refused."""

Scalar = bool | int | float | str | None
"""A value of a feature, of an observation or of an outcome. Numbers are finite."""


class Part(BaseModel):
    """Something that stands inside a fact. Writers may not misspell; readers ignore what they don't know (`Fact.read`)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class Fact(Part):
    """The data of an event. Its class names the type; the catalogue in `topics` names where it travels."""

    TYPE: ClassVar[str]
    MINOR: ClassVar[int] = 0

    def key(self) -> str:
        """What must stay in order: equal keys share a partition."""
        return str(getattr(self, "model"))  # noqa: B009  # every family but three is keyed by its model

    def subject(self) -> str:
        """What the event is about, for `ce_subject`."""
        return self.key()

    @classmethod
    def read(cls, data: bytes) -> Self:
        """The fact in these JSON bytes; unknown fields are ignored, at every depth. Raises pydantic's ValidationError."""
        return cls.model_validate_json(data, extra="ignore")

    @classmethod
    def dataschema(cls) -> str:
        """The URN of the schema with its minor version."""
        return f"urn:driftloop:schema:{cls.TYPE}:{cls.MINOR}"


@dataclass(frozen=True, slots=True)
class Cause:
    """The event that something follows from."""

    id: str
    time: datetime
    correlation: str
    """The first event of the chain."""
    tenant: str = "default"


F = TypeVar("F", bound=Fact)
F_co = TypeVar("F_co", bound=Fact, covariant=True)


@dataclass(frozen=True, slots=True)
class Event(Generic[F_co]):
    """One fact in its envelope. `id` is its identity: equal ids are the same event, however often it arrives."""

    id: str
    time: datetime
    """When it became true: event time, never the clock of a consumer."""
    data: F_co
    causation: str | None = None
    correlation: str | None = None
    tenant: str = "default"
    source: str = ""
    """`/services/<name>` or `/producers/<name>`; the runner fills it in."""
    recorded_at: datetime | None = None
    """The wall clock of the writer, for people; nothing is decided by it."""
    traceparent: str | None = None

    def as_cause(self) -> Cause:
        """This event, as the cause of what follows from it."""
        return Cause(self.id, self.time, self.correlation or self.id, self.tenant)


def derived_id(cause_id: str, name: str) -> str:
    """uuid5 of the cause and a name: the same cause yields the same id, so a replay cannot create a second event."""
    return str(uuid.uuid5(NAMESPACE, f"{cause_id}\n{name}"))


def caused(data: F, cause: Cause, name: str = "", *, time: datetime | None = None) -> Event[F]:
    """`data` as an event that follows from `cause`.

    name: tells several events of one type from one cause apart.
    time: when it became true; the time of the cause if not given (a derived control event takes the stream's time).
    """
    return Event(
        id=derived_id(cause.id, f"{data.TYPE}:{data.key()}:{name}"),
        time=time or cause.time,
        data=data,
        causation=cause.id,
        correlation=cause.correlation,
        tenant=cause.tenant,
    )


def first(data: F, *, id: str, time: datetime) -> Event[F]:  # noqa: A002  # CloudEvents' own word
    """`data` as an event that nothing caused: made by a producer or a person, who made its id too."""
    return Event(id=id, time=time, data=data, correlation=id)


AnyEvent = Event[Any]
Name = Annotated[str, Field(min_length=1, max_length=250, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A name of a model, view or feature: it becomes part of keys, topics and addresses."""
