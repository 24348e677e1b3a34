"""YAML files as documents, and what is wrong with them by file and line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from driftloop.cli.doors import Refusal
from driftloop_contracts.mistakes import Place, mistakes


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document of a file."""

    file: Path
    root: yaml.Node
    content: dict[str, Any]

    @property
    def name(self) -> str:
        """The model, or `view/<name>`: what a command names."""
        return str(self.content["model"]) if "model" in self.content else f"view/{self.content['view']}"


def sound(files: list[Path]) -> list[Document]:
    """The documents of all files. Raises Refusal with every mistake in any of them, a line each, `file:line: what`."""
    found: list[Document] = []
    told: list[str] = []
    for file in files:
        try:
            held = list(documents(file))
        except Refusal as refusal:
            told.append(str(refusal))
            continue
        found += held
        told += [line for document in held for line in complaints(document)]
    if told:
        raise Refusal("\n".join(told))
    return found


def documents(file: Path) -> Iterator[Document]:
    """The documents of a file. Raises Refusal with the line where it is no YAML, or none is there."""
    try:
        loader = yaml.SafeLoader(file.read_bytes())
        roots: list[yaml.Node] = []
        while loader.check_node() and (root := loader.get_node()) is not None:
            roots.append(root)
        contents = [loader.construct_document(root) for root in roots]
    except yaml.MarkedYAMLError as odd:
        line = odd.problem_mark.line + 1 if odd.problem_mark else 1
        raise Refusal(f"{file}:{line}: no YAML: {odd.problem or odd.context}") from odd
    except (yaml.YAMLError, UnicodeDecodeError) as odd:
        raise Refusal(f"{file}:1: no YAML: {str(odd).splitlines()[0]}") from odd
    pairs = [(root, content) for root, content in zip(roots, contents, strict=True) if content is not None]
    if not pairs or not all(isinstance(content, dict) for _, content in pairs):
        raise Refusal(f"{file}:1: holds no document that starts with `model:` or `view:`")
    return (Document(file, root, content) for root, content in pairs)


def complaints(document: Document) -> list[str]:
    """A line for each mistake."""
    twice = [f"{document.file}:{line}: {key} stands twice" for line, key in repeated(document.root)]
    return twice + [f"{document.file}:{line_of(document.root, one.place)}: {one}" for one in mistakes(document.content)]


def line_of(root: yaml.Node, place: Place) -> int:
    """The line of the deepest part of the place that the document has."""
    line, node = root.start_mark.line + 1, root
    for step in place:
        found = _child(node, step)
        if found is None:
            break
        line, node = found
    return line


def repeated(node: yaml.Node) -> Iterator[tuple[int, str]]:
    """Line and name of every key that a mapping has already: YAML would let the last one win."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from repeated(item)
    if isinstance(node, yaml.MappingNode):
        known: set[str] = set()
        for key, value in node.value:
            if key.value in known:
                yield key.start_mark.line + 1, str(key.value)
            known.add(str(key.value))
            yield from repeated(value)


def _child(node: yaml.Node, step: int | str) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        item = node.value[step]
        return item.start_mark.line + 1, item
    return None
