"""Experiments, as MLflow's clients know them."""

from collections.abc import Mapping

from registry.domain.search import Search
from registry.handlers.refused import absent, no_experiment, not_active, refused, taken
from registry.ports import tracking
from registry.ports.tracking import Experiment, Page


class Experiments:
    """Named groups of runs; `0` is there from the start."""

    def __init__(self, experiments: tracking.Experiments) -> None:
        self._experiments = experiments

    async def create(self, name: str, location: str | None, tags: Mapping[str, str], now_ms: int) -> int:
        """The number of the new one."""
        number = await self._experiments.create(name, location, tags, now_ms)
        if number is None:
            raise taken(f"Experiment(name={name}) already exists.")
        return number

    async def get(self, experiment_id: int) -> Experiment:
        """Also a deleted one."""
        found = await self._experiments.get(experiment_id)
        if found is None:
            raise no_experiment(experiment_id)
        return found

    async def named(self, name: str) -> Experiment:
        """Also a deleted one."""
        found = await self._experiments.named(name)
        if found is None:
            raise absent(f"Could not find experiment with name '{name}'")
        return found

    async def active(self, experiment_id: int) -> Experiment:
        """One that was not deleted."""
        found = await self.get(experiment_id)
        if not found.active:
            raise not_active("experiment", experiment_id)
        return found

    async def rename(self, experiment_id: int, name: str, now_ms: int) -> None:
        """It has the new name."""
        if not (await self.get(experiment_id)).active:
            # MLflow's own answer is 500, which its client repeats seven times: a caller's mistake is 4xx here.
            raise refused("BAD_REQUEST", "Cannot rename a non-active experiment.")
        if not await self._experiments.rename(experiment_id, name, now_ms):
            raise taken(f"Experiment(name={name}) already exists.")

    async def set_active(self, experiment_id: int, active: bool, now_ms: int) -> None:
        """Deleted with its runs, or restored with them; twice is 404."""
        if (await self.get(experiment_id)).active is active:
            raise no_experiment(experiment_id)
        await self._experiments.set_active(experiment_id, active, now_ms)

    async def set_tag(self, experiment_id: int, key: str, value: str, now_ms: int) -> None:
        """The tag has this value."""
        await self.active(experiment_id)
        await self._experiments.set_tag(experiment_id, key, value, now_ms)

    async def delete_tag(self, experiment_id: int, key: str, now_ms: int) -> None:
        """The tag is gone."""
        await self.active(experiment_id)
        if not await self._experiments.delete_tag(experiment_id, key, now_ms):
            raise absent(f"No tag with name: {key} in experiment with id {experiment_id}")

    async def search(self, search: Search, active: bool | None, page: Page) -> list[Experiment]:
        """One more than the page where there is more."""
        return await self._experiments.search(search, active, page)
