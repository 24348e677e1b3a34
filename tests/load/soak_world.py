"""The world of the soak: a model whose wind comes from a view, its champion, and every service that there is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.first_version import first_version

from driftloop_artifacts import ArtifactStore
from driftloop_bus.testing import publish
from driftloop_contracts import first
from driftloop_contracts.control_plane import ViewDeclared
from driftloop_contracts.documents import ModelDeclaration, ViewDeclaration
from driftloop_kit.testing import ServiceProcess
from serving.testing import linear_model

MODEL: Final = "soak"
VIEW: Final = "soak-weather"
KEEPING: Final = ("registry", "feature_store", "monitor", "retrainer")
PARTS: Final = (*KEEPING, "serving", "console", "monitor rollups")
# Those of whose groups a second member comes and goes.
JOINED: Final = ("monitor", "feature_store")
WITHIN_S: Final = 180.0
FEATURES: Final[dict[str, Any]] = {
    "origin": "category",
    "wind": {"type": "number", "view": VIEW, "entity": "site", "max_age": "36h", "on_stale": None},
}


class Circle:
    """All parts, started, and the second members of two groups."""

    def __init__(self, kafka: str, folder: Path, urls: Mapping[str, str]) -> None:
        self._kafka, self._folder, self._urls = kafka, folder, urls
        self.parts = {name: self._part(name) for name in PARTS}
        self.others = {name: self._part(name, "second") for name in JOINED}
        self.codes: list[int] = []
        """How the second members ended."""

    def start(self, stack: ExitStack) -> None:
        """Everything is ready."""
        for part in self.parts.values():
            stack.enter_context(part)
        for part in self.parts.values():
            if not part.words:
                part.until_page("/ready", lambda said: said["ready"], WITHIN_S)
        self.parts["serving"].until_page("/ready", lambda said: said["models"].get(MODEL, {}).get("champion"))

    def pids(self) -> dict[str, int]:
        """Of the parts that stay."""
        return {name: part.process.pid for name, part in self.parts.items()}

    def tasks(self, name: str) -> int:
        """What the part's event loop does at once; 0 where it has no door, or is too busy to say."""
        part = self.parts[name]
        if part.words:
            return 0
        lines = part.get("/metrics").text.splitlines()
        return int(sum(float(line.split()[1]) for line in lines if line.startswith("driftloop_tasks ")))

    def change(self, number: int) -> None:
        """A group is dealt anew: the monitor's and the feature store's second member come in turn, and go in turn."""
        name = JOINED[number % len(JOINED)]
        if number // len(JOINED) % 2 == 0:
            self.others[name].start()
        else:
            # Who has just been started on a busy machine may not be a member yet.
            self.others[name].until_page("/ready", lambda said: said["ready"], WITHIN_S)
            self.codes.append(self.others[name].stop())

    def restarts(self) -> int:
        """How many of the parts have ended by themselves."""
        return sum(part.process.poll() is not None for part in self.parts.values())

    def _part(self, name: str, suffix: str = "") -> ServiceProcess:
        module, *words = name.split()
        folder = self._folder / f"{name.replace(' ', '-')}{suffix}"
        folder.mkdir()
        shared = {f"DRIFTLOOP_{place.upper()}": (self._folder / place).as_uri() for place in ("artifacts", "history")}
        return ServiceProcess(module, self._kafka, folder, self._urls.get(module), words=words, **shared)


@contextmanager
def circle(kafka: str, folder: Path, urls: Mapping[str, str]) -> Iterator[Circle]:
    """Every service, ready; all of them gone when the block ends."""
    made = Circle(kafka, folder, urls)
    with ExitStack() as stack:
        made.start(stack)
        try:
            yield made
        finally:
            for other in made.others.values():
                if hasattr(other, "process"):
                    other.kill()


def a_declaration(model: str, owner: str = "ops") -> ModelDeclaration:
    """The caller brings the origin, the view the wind."""
    return ModelDeclaration.model_validate(
        {"model": model, "owner": owner, "task": "binary", "features": FEATURES, "segments": ["origin"],
         "outcome": {"expected_within": "36h", "loss": "log_loss"}, "train": {"entry": "soak.train:train"},
         "monitor": {"trigger": {"loss": "brier", "window": "1d", "closes": "09:00Z", "min_outcomes": 40}}}
    )  # fmt: skip


async def declared(kafka: str, folder: Path) -> None:
    """View, model and champion are told of; the champion's bytes are in the store."""
    digest = str(await ArtifactStore.open((folder / "artifacts").as_uri()).put(linear_model(1.0)))
    now = datetime.now(UTC)
    view = ViewDeclaration.model_validate({"view": VIEW, "entity": "site", "features": {"wind": "number"}})
    facts = [
        ViewDeclared(view=VIEW, document=view, digest="sha256:v", applied_by="ops"),
        *first_version(a_declaration(MODEL), digest, {"origin": "category", "wind": "number"}, now),
    ]
    await publish(kafka, "registry", *(first(fact, id=f"{MODEL}-{n}", time=now) for n, fact in enumerate(facts)))
