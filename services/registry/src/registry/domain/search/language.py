"""From the text of a filter to clauses that are all to hold.

filter = clause { "AND" clause }; clause = ident cmp value | ident IS [NOT] NULL | ident [NOT] IN ( strings ); no OR, NOT or
parentheses. The words of refusals are MLflow's, since its clients show them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from registry.domain.search.rules import LISTS, NUMERIC, PRESENCE, TEXTUAL, Rules

IS_PROMPT: Final = "mlflow.prompt.is_prompt"
# Longer filters come from nobody; the bound keeps the expressions below linear in practice.
MAX_CHARS: Final = 20_000

Value = str | float | tuple[str, ...] | None


class BadSearch(ValueError):
    """A filter or an order that says nothing; the text is for the client's user."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One comparison. entity: attribute, metric, parameter, tag, dataset."""

    entity: str
    key: str
    comparator: str
    value: Value


@dataclass(frozen=True, slots=True)
class Order:
    """One key to sort by; what lacks it comes last both ways."""

    entity: str
    key: str
    ascending: bool = True


@dataclass(frozen=True, slots=True)
class Search:
    """Clauses that all hold, and the order of the answer."""

    clauses: tuple[Clause, ...] = ()
    order: tuple[Order, ...] = ()


_IDENT: Final = re.compile(r"""\s*(?:(?P<entity>[^\W\d]\w*)\s*\.\s*)?(?P<key>`[^`]+`|"[^"]+"|[^\W\d][\w.]*)""")
_CMP: Final = re.compile(
    r"\s*(?P<cmp>>=|<=|!=|>|<|=|\bIS\s+NOT\s+NULL\b|\bIS\s+NULL\b|\bNOT\s+IN\b|\bIN\b|\bILIKE\b|\bR?LIKE\b)",
    re.IGNORECASE,
)
_VALUE: Final = re.compile(
    r"""\s*(?P<value>'[^']*'|"[^"]*"|[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?(?![\w.])|\([^()]*\)|[^\s]+)""",
    re.IGNORECASE,
)
_AND: Final = re.compile(r"\s+AND\b", re.IGNORECASE)
_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.IGNORECASE)
_ITEM: Final = re.compile(r"""\s*(?:'([^']*)'|"([^"]*)")\s*(,|$)""")
_WORDS: Final = re.compile(r"""\([^()]*\)|'[^']*'|"[^"]*"|\S+""")


def parse(text: str, rules: Rules) -> tuple[Clause, ...]:
    """The clauses of a filter; none for an empty one. Raises BadSearch."""
    if not text:
        return ()
    if not text.strip():
        raise BadSearch(f"Invalid filter '{text}'. Could not be parsed.")
    if len(text) > MAX_CHARS:
        raise BadSearch(f"The filter has {len(text)} characters; at most {MAX_CHARS} are allowed.")
    if ";" in re.sub(r"""'[^']*'|"[^"]*"|`[^`]*`""", "", text):
        raise BadSearch(f"Search filter contained multiple expression '{text}'. Provide AND-ed expression list.")
    return tuple(_clauses(text, rules))


def _clauses(text: str, rules: Rules) -> list[Clause]:
    clauses: list[Clause] = []
    place = 0
    while text[place:].strip():
        clause, place = _clause(text, place, rules)
        clauses.append(clause)
        joint = _AND.match(text, place)
        if joint is None and text[place:].strip():
            raise _invalid(text[place:].split()[:1], rules)
        place = joint.end() if joint else len(text)
    return clauses


def _clause(text: str, place: int, rules: Rules) -> tuple[Clause, int]:
    rest = text[place:].strip()
    if rest.startswith("("):
        raise _invalid([rest], rules)
    if re.match(r"NOT\b", rest, re.IGNORECASE):
        raise _invalid([rest.split()[0]], rules)
    if rest.startswith("'"):
        raise BadSearch(f"Invalid comparison clause. Expected 'Identifier' found '{_WORDS.findall(rest)[0]}'")
    ident = _IDENT.match(text, place)
    found = ident and _CMP.match(text, ident.end())
    if not ident or not found:
        raise _invalid([word for word in _WORDS.findall(rest) if word.upper() != "AND"], rules)
    comparator = " ".join(found["cmp"].upper().split())
    value = _VALUE.match(text, found.end())
    if value is None and comparator not in PRESENCE:
        raise _invalid(_WORDS.findall(rest), rules)
    entity, key = _named(ident, rules)
    if comparator in PRESENCE or value is None:
        return _present(entity, key, comparator, rules), found.end()
    return _compared(entity, key, comparator, value["value"], rules), value.end()


def _invalid(words: Sequence[str], rules: Rules) -> BadSearch:
    shown = ", ".join(f"'{word}'" if rules.quoted_clauses else word for word in words)
    return BadSearch(f"Invalid clause(s) in filter string: {shown}")


def _named(ident: re.Match[str], rules: Rules) -> tuple[str, str]:
    """Entity and key, each in its own spelling."""
    key = ident["key"].strip('`"')
    if ident["entity"] is None:
        return "attribute", _attribute(key, rules)
    entity = rules.entities.get(ident["entity"])
    if entity is None:
        known = list(dict.fromkeys(["metric", "parameter", "tag", "attribute", "dataset"]))
        shown = known if rules.quoted_clauses else sorted(set(rules.entities.values()))
        raise BadSearch(f"Invalid entity type '{ident['entity']}'. Valid values are {shown}")
    if entity == "dataset" and key not in ("name", "digest", "context"):
        raise BadSearch(
            f"Invalid dataset key '{key}' specified. Valid keys are '{_shown(('digest', 'context', 'name'))}'"
        )
    return entity, _attribute(key, rules) if entity == "attribute" else key


def _attribute(key: str, rules: Rules) -> str:
    known = {**rules.texts, **rules.numbers}
    if key not in known:
        raise BadSearch(f"Invalid attribute key '{key}' specified. Valid keys are '{_shown(known)}'")
    return known[key]


def _present(entity: str, key: str, comparator: str, rules: Rules) -> Clause:
    if entity not in ("tag", "parameter") or not rules.presence:
        raise BadSearch(f"IS NULL / IS NOT NULL is only supported for tags and params, not for '{entity}' '{key}'")
    return Clause(entity, key, comparator, None)


def _compared(entity: str, key: str, comparator: str, raw: str, rules: Rules) -> Clause:
    if entity == "metric":
        return Clause(entity, key, _allowed(comparator, NUMERIC), _number(raw, "metric"))
    if entity == "attribute" and key in rules.numbers.values():
        return _numeric_attribute(key, comparator, raw, rules)
    if comparator in LISTS:
        return Clause(entity, key, comparator, _listed(entity, key, raw, rules))
    allowed = (*TEXTUAL, *PRESENCE) if entity in ("tag", "parameter") and rules.presence else TEXTUAL
    if rules.in_registry and comparator not in allowed:
        raise BadSearch(f"Invalid comparator for {entity}: {comparator}")
    if raw[0] not in "'\"" or len(raw) < 2 or raw[-1] != raw[0]:
        raise BadSearch(_unquoted(entity, raw, rules))
    return Clause(entity, key, _allowed(comparator, allowed), raw[1:-1])


def _numeric_attribute(key: str, comparator: str, raw: str, rules: Rules) -> Clause:
    if key in rules.integers:
        digits = raw.strip("'\"")
        if not digits.lstrip("-").isdecimal():
            raise BadSearch(f"Invalid value for numeric attribute '{key}': {raw}")
        return Clause("attribute", key, _allowed(comparator, NUMERIC), float(digits))
    value = _number(raw, f"numeric attribute: {key}")
    return Clause("attribute", key, _allowed(comparator, NUMERIC), value)


def _number(raw: str, what: str) -> float:
    if not _NUMBER.fullmatch(raw):
        raise BadSearch(f"Expected numeric value type for {what}. Found {raw}")
    return float(raw)


def _listed(entity: str, key: str, raw: str, rules: Rules) -> tuple[str, ...]:
    if entity in ("tag", "parameter"):
        raise BadSearch(_unquoted(entity, raw, rules))
    if entity == "attribute" and key not in rules.lists:
        raise BadSearch(
            f"Only {sorted(rules.lists)} attributes support comparison with a list of quoted string values."
        )
    inner = raw[1:-1].strip() if raw.startswith("(") else raw
    if not inner:
        raise BadSearch(
            "While parsing a list in the query, expected a non-empty list of string values, but got empty list"
        )
    return _items(inner)


def _items(inner: str) -> tuple[str, ...]:
    items: list[str] = []
    place = 0
    while place < len(inner):
        item = _ITEM.match(inner, place)
        if item is None:
            raise BadSearch(
                "While parsing a list in the query, expected string value, punctuation, or whitespace, but got different type "
                f"in list: ({inner},)"
            )
        items.append(item[1] if item[1] is not None else item[2])
        place = item.end()
    return tuple(items)


def _allowed(comparator: str, allowed: Sequence[str]) -> str:
    if comparator not in allowed:
        raise BadSearch(f"Invalid comparator '{comparator}' not one of '{_shown(allowed)}'")
    return comparator


def _unquoted(entity: str, raw: str, rules: Rules) -> str:
    if rules.in_registry:
        return (
            "Parameter value is either not quoted or unidentified quote types used for string value "
            f"{raw}. Use either single or double quotes."
        )
    return f"Expected a quoted string value for {entity} (e.g. 'my-value'). Got value {raw}"


def _shown(names: Sequence[str] | dict[str, str]) -> str:
    return "{" + ", ".join(f"'{name}'" for name in names) + "}"


_ORDER: Final = re.compile(_IDENT.pattern + r"(?:\s+(?P<way>ASC|DESC))?\s*", re.IGNORECASE)


def parse_order(text: str, rules: Rules) -> Order:
    """One key to sort by. Raises BadSearch."""
    found = _ORDER.fullmatch(text)
    if found is None:
        raise BadSearch(f"Invalid ordering key in order_by clause '{text}'.")
    ascending = (found["way"] or "ASC").upper() == "ASC"
    if found["entity"] is None or rules.entities.get(found["entity"]) == "attribute":
        return Order("attribute", _order_key(found["key"].strip('`"'), rules), ascending)
    entity, key = _named(found, rules)
    if entity == "dataset":
        raise BadSearch("Invalid identifier type 'dataset'")
    return Order(entity, key, ascending)


def _order_key(key: str, rules: Rules) -> str:
    name = {**rules.texts, **rules.numbers, **rules.order_names}.get(key, key)
    if name not in rules.orders:
        shown = sorted(rules.orders if rules.in_registry else {*rules.orders, *rules.order_names})
        what = "order by" if rules.in_registry and "version_number" not in rules.orders else "attribute"
        raise BadSearch(f"Invalid {what} key '{key}' specified. Valid keys are '{_shown(shown)}'")
    return name


def without_prompts(search: Search) -> Search:
    """Prompts are registered models too: they are left out where the filter does not speak of them."""
    if any(clause.entity == "tag" and clause.key == IS_PROMPT for clause in search.clauses):
        return search
    return replace(search, clauses=(*search.clauses, Clause("tag", IS_PROMPT, "!=", "true")))
