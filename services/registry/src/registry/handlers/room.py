"""The registry's room with both doors: what topics ask of it, and what MLflow's clients do."""

from registry.handlers.catalogue import Catalogue
from registry.handlers.experiments import Experiments
from registry.handlers.logged_models import LoggedModels
from registry.handlers.registry import Registry
from registry.handlers.runs import Runs
from registry.ports import Audit, Chain, Models, catalogue, tracking


class Room(Registry):
    """One transaction of the registry."""

    def __init__(
        self,
        models: Models,
        chain: Chain,
        audit: Audit,
        *,
        experiments: tracking.Experiments,
        runs: tracking.Runs,
        logged: tracking.LoggedModels,
        files: tracking.Files,
        registered: catalogue.RegisteredModels,
        versions: catalogue.Versions,
    ) -> None:
        super().__init__(models, chain, audit)
        self.experiments = Experiments(experiments)
        self.runs = Runs(runs, self.experiments)
        self.logged = LoggedModels(logged, self.experiments)
        self.catalogue = Catalogue(registered, versions, self.logged)
        self.files = files
