"""Models that runs logged, as MLflow's clients know them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from registry.domain.search import Search
from registry.handlers.experiments import Experiments
from registry.handlers.refused import absent, no_logged_model
from registry.ports import tracking
from registry.ports.tracking import LoggedModel, Page


class LoggedModels:
    """Bytes of a run with a name; a registered version may point at one."""

    def __init__(self, models: tracking.LoggedModels, experiments: Experiments) -> None:
        self._models = models
        self._experiments = experiments

    async def create(self, model: LoggedModel) -> LoggedModel:
        """It is there, pending; `model.artifact_root` is ignored."""
        experiment = await self._experiments.active(model.experiment_id)
        await self._models.create(model)
        return replace(model, artifact_root=experiment.artifact_location)

    async def get(self, model_id: str) -> LoggedModel:
        """Not a deleted one."""
        found = await self._models.get(model_id)
        if found is None:
            raise no_logged_model(model_id)
        return found

    async def finalize(self, model_id: str, status: str, now_ms: int) -> LoggedModel:
        """It is ready, or failed."""
        before = await self.get(model_id)
        await self._models.set_status(model_id, status, now_ms)
        return replace(before, status=status, updated_ms=now_ms)

    async def set_tags(self, model_id: str, tags: Mapping[str, str]) -> None:
        """The tags have these values."""
        await self.get(model_id)
        await self._models.set_tags(model_id, tags)

    async def delete_tag(self, model_id: str, key: str) -> None:
        """The tag is gone."""
        await self.get(model_id)
        if not await self._models.delete_tag(model_id, key):
            raise absent(f"No tag with key {key!r} found for model with ID {model_id!r}.")

    async def add_params(self, model_id: str, params: Mapping[str, str]) -> None:
        """Those that are new are there."""
        await self.get(model_id)
        await self._models.add_params(model_id, params)

    async def delete(self, model_id: str) -> None:
        """It is found no more."""
        await self.get(model_id)
        await self._models.delete(model_id)

    async def search(self, experiment_ids: Sequence[int], search: Search, page: Page) -> list[LoggedModel]:
        """One more than the page where there is more."""
        return await self._models.search(experiment_ids, search, page)
