"""What differs between places."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from driftloop_kit.settings import ServiceSettings


class Settings(ServiceSettings):
    """The retrainer's settings, `RETRAINER_...`."""

    model_config = SettingsConfigDict(env_prefix="RETRAINER_", frozen=True)

    http_port: int = Field(default=8085, ge=0, le=65535)
    """Port to listen on; 0: a free one."""
    code_path: str = ""
    """Folders with the training code of the models, as PYTHONPATH: only the training process imports from them."""
    tracking_uri: str | None = Field(default=None, validation_alias="MLFLOW_TRACKING_URI")
    """Where trainings log their runs. Without it, or while it is away, they go on without a run."""
    autolog: bool = True
    """Whether MLflow's autologging adds to a run what it finds; it costs about as much CPU as the fits."""
    parallel_trainings: int = Field(default=1, ge=1)
    """How many trainings run at once in this process."""
