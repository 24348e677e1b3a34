"""Where a stack keeps everything: one folder, `.driftloop/` of the current directory unless told otherwise."""

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """The folder of one stack. Two stacks in two folders live side by side."""

    folder: Path

    @classmethod
    def here(cls) -> "Home":
        """`DRIFTLOOP_HOME`, else `.driftloop` of the current directory."""
        return cls(Path(os.environ.get("DRIFTLOOP_HOME") or ".driftloop").resolve())

    @property
    def record(self) -> Path:
        """What runs, where, since when. Holds the administrator's address: readable by its owner alone."""
        return self.folder / "stack.json"

    @property
    def wanted(self) -> Path:
        """What was asked for; the supervisor starts what is added while it runs."""
        return self.folder / "wanted.json"

    @property
    def lock(self) -> Path:
        return self.folder / "supervisor.lock"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def kafka(self) -> Path:
        return self.folder / "kafka"

    @property
    def postgres(self) -> Path:
        return self.folder / "postgres"

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    @property
    def history(self) -> Path:
        return self.folder / "history"

    def data(self, part: str) -> Path:
        return self.folder / "data" / part

    def log(self, part: str) -> Path:
        return self.logs / f"{part}.log"

    def hold(self, part: str) -> Path:
        """While this file exists the part is kept stopped."""
        return self.folder / "holds" / part

    def create(self) -> None:
        """Afterwards the folders exist. Root's stay passable: Postgres runs there as a user of its own."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
        for folder in (self.logs, self.kafka, self.postgres, self.artifacts, self.history, self.hold("x").parent):
            folder.mkdir(exist_ok=True)

    def secret(self, name: str) -> str:
        """The same password at every call; made at the first one and readable by its owner alone."""
        path = self.folder / "secrets" / name
        if not path.exists():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            write_private(path, secrets.token_urlsafe(24))
        return path.read_text(encoding="utf-8")


def cache_folder() -> Path:
    """What every checkout of this user shares: `$XDG_CACHE_HOME/driftloop`, else `~/.cache/driftloop`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "driftloop"


def write_private(path: Path, text: str) -> None:
    """The whole text or what stood there before, never a half; mode 600 from its first byte."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(path)


def write_private_json(path: Path, content: object) -> None:
    write_private(path, json.dumps(content, indent=2) + "\n")
