"""`driftloop model`: declarations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from pydantic import ValidationError
from rich import print as say
from rich.console import Console
from rich.table import Table

from driftloop.cli.commands import given
from driftloop.cli.doors import Refusal, ask, command
from driftloop_contracts.documents import ModelDeclaration, parse_document

app = typer.Typer(no_args_is_help=True, help="Declare models and views, and look at them.")
Files = Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="YAML documents.")]


@app.command()
def check(files: Files) -> None:
    """Say whether documents are sound, without applying them."""
    for file in files:
        for document in documents(file):
            checked(document, file)
        say(f"{file}: sound")


@app.command()
def apply(files: Files) -> None:
    """Declare models and views: what each document says holds from now on."""
    for file in files:
        for document in documents(file):
            declared = checked(document, file)
            name = declared.model if isinstance(declared, ModelDeclaration) else f"view/{declared.view}"
            command(given("apply", name, document=document))
            say(f"{name}: applied")


@app.command("list")
def models() -> None:
    """Show every model: what serves, and since when."""
    table = Table("model", "champion", "challengers", "since", "frozen")
    for model in ask("registry", "/loop/models"):
        deployment = model.get("deployment") or {}
        champion = deployment.get("champion") or {}
        rivals = ", ".join(one["version"] for one in deployment.get("challengers", []))
        table.add_row(
            model["model"], champion.get("version", "-"), rivals or "-", champion.get("since", "-"),
            "yes" if deployment.get("frozen") else "no",
        )  # fmt: skip
    Console().print(table)


def documents(file: Path) -> list[dict[str, Any]]:
    """The YAML documents in a file. Raises Refusal with the line where it is none."""
    try:
        found = [one for one in yaml.safe_load_all(file.read_text()) if one is not None]
    except yaml.YAMLError as odd:
        raise Refusal(f"{file} is no YAML: {odd}") from odd
    if not found or not all(isinstance(one, dict) for one in found):
        raise Refusal(f"{file} holds no document that starts with `model:` or `view:`")
    return found


def checked(document: dict[str, Any], file: Path) -> Any:
    """The document as its class. Raises Refusal naming the line, what was given and what is allowed."""
    try:
        return parse_document(document)
    except ValidationError as odd:
        lines = [
            f"{file}:{line_of(file, error['loc'])}: {_path(error['loc'])}: {_words(error)}" for error in odd.errors()
        ]
        raise Refusal("\n".join(lines)) from odd
    except ValueError as odd:
        raise Refusal(f"{file}: {odd}") from odd


def line_of(file: Path, path: tuple[int | str, ...]) -> int:
    """The line of the deepest part of the path that the file has; 1 for the whole document."""
    for root in yaml.compose_all(file.read_text(), yaml.SafeLoader):
        line, node = 1, root
        for step in path:
            found = _child(node, step)
            if found is None:
                break
            line, node = found
        if line > 1:
            return line
    return 1


def _child(node: Any, step: int | str) -> tuple[int, Any] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step].start_mark.line + 1, node.value[step]
    return None


def _path(path: tuple[int | str, ...]) -> str:
    return ".".join(str(step) for step in path) or "document"


def _words(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "this key is not known here; see the keys of a declaration in the README"
    return f"{error['msg']}; given {error['input']!r}"[:300]
