"""What a search means in SQL. Everything that a client wrote travels as a parameter."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from registry.domain.search import Clause, Order, Search
from registry.domain.search.language import IS_PROMPT


@dataclass(frozen=True, slots=True)
class Source:
    """The tables of one search. `row` names the searched row's key as `<table>.<column> = part.<column>`."""

    attributes: Mapping[str, str]
    """Attribute to its column."""
    parts: Mapping[str, str]
    """Entity to the table that holds its keys and values, joined to the searched row."""
    integers: frozenset[str] = frozenset()
    tie: str = ""
    """The default order; behind the client's own keys it settles what they leave open."""


@dataclass(slots=True)
class Query:
    """A WHERE and an ORDER BY with their parameters."""

    arguments: list[Any] = field(default_factory=list)

    def argument(self, value: Any) -> str:
        """The parameter's name."""
        self.arguments.append(value)
        return f"${len(self.arguments)}"

    def where(self, search: Search, source: Source) -> str:
        """All clauses hold."""
        return " AND ".join(["true", *(self._clause(clause, source) for clause in search.clauses)])

    def order(self, search: Search, source: Source) -> str:
        """The client's keys, then the tie-break."""
        return ", ".join([*(self._order(order, source) for order in search.order), source.tie])

    def page(self, limit: int, offset: int) -> str:
        """One row more than the page, to know whether more follow."""
        return f"LIMIT {self.argument(limit + 1)} OFFSET {self.argument(offset)}"

    def _clause(self, clause: Clause, source: Source) -> str:
        if clause.entity == "attribute":
            return self._compared(source.attributes[clause.key], clause, clause.key in source.integers)
        part = source.parts[clause.entity]
        if clause.entity == "dataset":
            return f"EXISTS (SELECT FROM {part} AND {self._compared(f'part.{clause.key}', clause)})"
        keyed = f"SELECT FROM {part} AND part.key = {self.argument(clause.key)}"
        match clause.comparator:
            case "IS NULL":
                return f"NOT EXISTS ({keyed})"
            case "IS NOT NULL":
                return f"EXISTS ({keyed})"
        found = f"EXISTS ({keyed} AND {self._compared('part.value', clause)})"
        # A model that says nothing of it is no prompt.
        silent = f" OR NOT EXISTS ({keyed})" if clause.key == IS_PROMPT and _holds_for_false(clause) else ""
        return f"({found}{silent})"

    def _compared(self, column: str, clause: Clause, integer: bool = False) -> str:
        value = clause.value
        match clause.comparator:
            case "IN":
                return (
                    f"{column} = ANY({self.argument(list(value or ()))}::text[])"
                    if isinstance(value, tuple)
                    else "false"
                )
            case "NOT IN":
                return (
                    f"{column} <> ALL({self.argument(list(value or ()))}::text[])"
                    if isinstance(value, tuple)
                    else "false"
                )
            case "LIKE" | "ILIKE":
                # MLflow's patterns know no escapes.
                return f"{column} {clause.comparator} {self.argument(value)} ESCAPE ''"
        comparator = {"!=": "<>"}.get(clause.comparator, clause.comparator)
        if isinstance(value, float):
            return f"{column}::float8 {comparator} {self.argument(value)}::float8 AND {column}::float8 <> 'NaN'"
        return f"{column} {comparator} {self.argument(value)}"

    def _order(self, order: Order, source: Source) -> str:
        if order.entity == "attribute":
            column = source.attributes[order.key]
        else:
            column = f"(SELECT part.value FROM {source.parts[order.entity]} AND part.key = {self.argument(order.key)} LIMIT 1)"
        way = "ASC" if order.ascending else "DESC"
        # What is missing comes last both ways, and NaN right before it.
        last = (
            f"CASE WHEN {column} IS NULL THEN 2 WHEN {column} = 'NaN' THEN 1 ELSE 0 END"
            if order.entity == "metric"
            else f"{column} IS NULL"
        )
        return f"{last}, {column} {way}"


_AS_FALSE: Final = "false"


def _holds_for_false(clause: Clause) -> bool:
    match clause.comparator:
        case "=":
            return clause.value == _AS_FALSE
        case "!=":
            return clause.value != _AS_FALSE
    return False
