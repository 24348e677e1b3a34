"""The rest of the Open Inference Protocol: is it alive, what is loaded, what does a model take and give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from driftloop_bus.errors import Refused
from serving.api.openinference import ACCEPTED, datatype_of
from serving.handlers import Serving
from serving.ports import Models

VERSION: Final = "0.1.0"
EXTENSIONS: Final = ["binary_tensor_data", "model_repository"]


def routes(serving: Serving, models: Models, is_ready: Callable[[], bool]) -> APIRouter:
    """Health, metadata and the index of what is loaded."""
    router = APIRouter()

    @router.get("/v2/health/live")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @router.get("/v2/health/ready")
    async def ready() -> JSONResponse:
        ok = is_ready()
        return JSONResponse({"live": True, "ready": ok}, status_code=200 if ok else 503)

    @router.get("/v2")
    async def server() -> dict[str, Any]:
        return {"name": "driftloop", "version": VERSION, "extensions": EXTENSIONS}

    @router.get("/v2/models/{model}")
    @router.get("/v2/models/{model}/versions/{version}")
    async def metadata(model: str, version: str | None = None) -> dict[str, Any]:
        return described(serving, model, version)

    @router.get("/v2/models/{model}/ready")
    @router.get("/v2/models/{model}/versions/{version}/ready")
    async def model_ready(model: str, version: str | None = None) -> JSONResponse:
        try:
            serving.loaded(model, "", version)
        except Refused as refused:
            if refused.status != 503:
                raise
            return JSONResponse({"name": model, "ready": False, "error": refused.message}, status_code=503)
        return JSONResponse({"name": model, "ready": True})

    @router.post("/v2/repository/index")
    async def index(request: Request) -> list[dict[str, str]]:
        only_ready = (await _body(request)).get("ready") is True
        rows = [row for model in models.models() for row in _index(models, model)]
        return [row for row in rows if row["state"] == "READY" or not only_ready]

    @router.post("/v2/repository/models/{model}/load")
    async def load(model: str) -> Response:
        serving.loaded(model, "")
        return Response(status_code=200)

    @router.post("/v2/repository/models/{model}/unload")
    async def unload(model: str) -> Response:
        serving.promise(model)
        raise Refused(f"what of {model!r} is loaded follows its deployment: ask the registry to retire or roll back")

    return router


def described(serving: Serving, model: str, version: str | None) -> dict[str, Any]:
    """The model's tensors. Raises Refused (404, 503)."""
    promise = serving.promise(model)
    shown, one = serving.loaded(model, "", version)
    score = [-1, len(one.model.classes)] if one.model.task == "multiclass" else [-1]
    outputs = [("prediction", datatype_of(one.model.task, one.model.classes), [-1]), ("score", "FP64", score)]
    return {
        "name": model,
        "versions": sorted({wanted.version for wanted in shown.plan.wanted if shown.version(wanted.version)}),
        "platform": "driftloop",
        "inputs": [{"name": r.name, "datatype": ACCEPTED[r.type][0], "shape": [-1]} for r in promise.rules],
        "outputs": [{"name": name, "datatype": datatype, "shape": shape} for name, datatype, shape in outputs],
    }


def _index(models: Models, model: str) -> list[dict[str, str]]:
    shown, errors = models.shown(model), models.errors(model)
    ready = sorted({w.version for w in shown.plan.wanted if shown.version(w.version)}) if shown else []
    loading = [] if ready or errors else [""]
    return [
        *({"name": model, "version": version, "state": "READY", "reason": ""} for version in ready),
        *(
            {"name": model, "version": version, "state": "UNAVAILABLE", "reason": why}
            for version, why in errors.items()
        ),
        *({"name": model, "version": version, "state": "LOADING", "reason": ""} for version in loading),
    ]


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object of the body; an empty body is an empty one."""
    raw = await request.body()
    if not raw:
        return {}
    try:
        body = await request.json()
    except ValueError as error:
        raise Refused("the body is no JSON") from error
    return body if isinstance(body, dict) else {}
