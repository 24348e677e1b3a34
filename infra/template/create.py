"""`make service NAME=x`: a service made of the template, which starts, is tested and obeys the rules.

Afterwards two files are to think about: its `domain.py` and its `handlers.py`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

TEMPLATE: Final = Path(__file__).parent / "service"
REPOSITORY: Final = Path(__file__).parents[2]
PLACEHOLDER: Final = "newborn"
PLACEHOLDER_PORT: Final = "8099"
FIRST_PORT: Final = 8080
NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
NEXT_STEPS: Final = """made services/{name}; next:
  1. uv pip install --no-deps -e services/{name} (or: make setup), then pytest services/{name}
  2. contracts/src/driftloop_contracts/topics.py: "{name}" among the readers of deployments.v1 (its dead letters exist then),
     and a topic of its own once it emits
  3. infra/local/src/driftloop_local/services.py: Service("{name}", "{name}", has_database=True)
  4. docker-compose.yml: its block and its database; CODEOWNERS: its owner
  5. services/{name}/src/{name}/domain.py and handlers.py: what it decides"""


class Refused(Exception):
    """The service can't be made; the text says why and what to do."""


def create(name: str, repository: Path) -> Path:
    """The folder of the new service. Raises Refused when the name can't be used."""
    check(name, repository)
    folder = repository / "services" / name
    port = free_port(repository)
    for source in sorted(TEMPLATE.rglob("*")):
        if source.is_file() and "__pycache__" not in source.parts:
            target = folder / renamed(str(source.relative_to(TEMPLATE)), name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(renamed(source.read_text(encoding="utf-8"), name, port), encoding="utf-8")
            shutil.copymode(source, target)
    add_to_type_check(repository / "pyproject.toml", name)
    put_in_order(repository, folder)
    return folder


def check(name: str, repository: Path) -> None:
    """Raises Refused unless the name is free and fits packages, topics and databases alike."""
    if not NAME.fullmatch(name):
        raise Refused(
            f"NAME={name!r}: write lower-case letters, digits and single underscores, such as NAME=price_watch"
        )
    if (repository / "services" / name).exists():
        raise Refused(f"services/{name} exists already")
    if name in sys.stdlib_module_names or find_spec(name) is not None:
        raise Refused(f"NAME={name}: a Python package of that name is there already; choose another")


def renamed(text: str, name: str, port: int | None = None) -> str:
    """The text with the new name in every spelling."""
    camel = "".join(part.capitalize() for part in name.split("_"))
    for old, new in ((PLACEHOLDER, name), (PLACEHOLDER.capitalize(), camel), (PLACEHOLDER.upper(), name.upper())):
        text = text.replace(old, new)
    return text.replace(PLACEHOLDER_PORT, str(port)) if port else text


def free_port(repository: Path) -> int:
    """The port after the highest that a service has by default."""
    given = [
        int(port)
        for path in (repository / "services").glob("*/src/*/settings.py")
        for port in re.findall(r"default=(80\d\d)", path.read_text(encoding="utf-8"))
    ]
    return max([FIRST_PORT, *given]) + 1


def add_to_type_check(project: Path, name: str) -> None:
    """mypy finds the new package."""
    text = project.read_text(encoding="utf-8")
    grown = re.sub(
        r'^(mypy_path = ".*)"$', rf'\1:$MYPY_CONFIG_FILE_DIR/services/{name}/src"', text, count=1, flags=re.MULTILINE
    )
    if grown == text:
        raise Refused(f'{project} has no line mypy_path = "..." to add services/{name}/src to')
    project.write_text(grown, encoding="utf-8")


def put_in_order(repository: Path, folder: Path) -> None:
    """Imports stand in the order that the new name asks for. Raises Refused when ruff finds more than it can mend."""
    for command in (["check", "--fix", "--quiet"], ["format", "--quiet"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, str(folder)], cwd=repository, check=False, timeout=60
        )
        if done.returncode:
            raise Refused(f"services/{folder.name} is made, but ruff is not content with it: see above")


def main() -> int:
    """The command line."""
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    try:
        create(name, REPOSITORY)
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 64
    print(NEXT_STEPS.format(name=name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
