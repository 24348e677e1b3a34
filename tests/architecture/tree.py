"""The tree as the rules see it: every package that exists, found by globbing, so that a new one is covered at once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Module:
    """One source file of one package."""

    package: str
    name: str
    """Dotted, below the package: `handlers`, `domain.watch`, `api.mlflow`."""
    path: Path

    @property
    def room(self) -> str:
        """The file or folder that holds it, right below the package."""
        return self.name.split(".")[0]

    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text())


def packages(pattern: str) -> Iterator[Path]:
    """The source folder of each package below the pattern, such as `services/*`."""
    for folder in sorted(ROOT.glob(pattern)):
        if (folder / "pyproject.toml").exists():
            yield from (found for found in sorted((folder / "src").iterdir()) if (found / "__init__.py").exists())


def modules(source: Path) -> list[Module]:
    """Every module of a package."""
    return [
        Module(source.name, ".".join(path.relative_to(source).with_suffix("").parts), path)
        for path in sorted(source.rglob("*.py"))
    ]


SERVICES = list(packages("services/*"))
LIBRARIES = [*packages("contracts"), *packages("libs/*")]
EVERYTHING = [*LIBRARIES, *SERVICES, *packages("infra/*"), *packages("infra/scenarios/*")]


def imports(tree: ast.AST) -> set[str]:
    """Dotted names of everything that the code imports, anywhere in it, type-checking blocks apart."""
    found: set[str] = set()
    for node in _running(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def _running(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _running(child)
