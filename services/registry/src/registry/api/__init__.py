"""The registry's doors: MLflow's for its clients, the loop's for people."""

from collections.abc import Mapping
from typing import Final

from fastapi import FastAPI

from driftloop_artifacts import ArtifactStore
from driftloop_kit.service import Context
from registry.api import loop, mlflow
from registry.handlers import Room

# A batch of 1000 metrics, 100 params of 6000 and 100 tags of 8000 characters is allowed, and an input's schema of a million.
BODY_LIMITS: Final[Mapping[str, int]] = {"/api/2.0/mlflow/": 4 * 1024**2, "/ajax-api/2.0/mlflow/": 4 * 1024**2}


def build_api(context: Context[Room], artifacts: ArtifactStore, max_file_bytes: int) -> FastAPI:
    """Both doors as one app; each has its own shape of errors."""
    app = FastAPI(title="registry", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(loop.router(context))
    mlflow.install(app, context, artifacts, max_file_bytes)
    return app
