"""Answers in MLflow's shape: what is empty is absent, numbers of experiments and versions are strings."""

from collections.abc import Mapping, Sequence
from typing import Any

from registry.ports.catalogue import RegisteredModel, Version
from registry.ports.tracking import Experiment, Input, LoggedModel, Point, Run, RunInfo

Json = dict[str, Any]


def pairs(values: Mapping[str, str]) -> list[Json]:
    """Tags or params."""
    return [{"key": key, "value": value} for key, value in values.items()]


def without_empty(**fields: Any) -> Json:
    """Those that say something."""
    return {name: value for name, value in fields.items() if value not in (None, [], {})}


def experiment(found: Experiment) -> Json:
    """Exp."""
    return {
        "experiment_id": str(found.id),
        "name": found.name,
        "artifact_location": found.artifact_location,
        "lifecycle_stage": "active" if found.active else "deleted",
        "last_update_time": found.updated_ms,
        "creation_time": found.created_ms,
    } | without_empty(tags=pairs(found.tags))


def artifact_uri(info: RunInfo) -> str:
    """Where a run's files lie."""
    return f"{info.artifact_root}/{info.run_id}/artifacts"


def run_info(info: RunInfo) -> Json:
    """Info."""
    return {
        "run_uuid": info.run_id,
        "experiment_id": str(info.experiment_id),
        "run_name": info.name,
        "user_id": info.user_id,
        "status": info.status,
        **without_empty(start_time=info.start_ms, end_time=info.end_ms),
        "artifact_uri": artifact_uri(info),
        "lifecycle_stage": "active" if info.active else "deleted",
        "run_id": info.run_id,
    }


def metric(point: Point) -> Json:
    """Metric."""
    value = "NaN" if point.value != point.value else point.value
    return {"key": point.key, "value": value, "timestamp": point.timestamp_ms, "step": point.step} | without_empty(
        model_id=point.model_id, dataset_name=point.dataset_name, dataset_digest=point.dataset_digest
    )


def run(found: Run) -> Json:
    """Run."""
    return {
        "info": run_info(found.info),
        "data": without_empty(
            metrics=[metric(point) for point in found.metrics], params=pairs(found.params), tags=pairs(found.tags)
        ),
        "inputs": without_empty(dataset_inputs=[_input(given) for given in found.inputs]),
        "outputs": without_empty(model_outputs=[{"model_id": model, "step": step} for model, step in found.outputs]),
    }


def _input(given: Input) -> Json:
    dataset = {
        "name": given.name, "digest": given.digest, "source_type": given.source_type, "source": given.source,
    } | without_empty(schema=given.schema, profile=given.profile)  # fmt: skip
    return without_empty(tags=pairs(given.tags)) | {"dataset": dataset}


def logged_model(found: LoggedModel) -> Json:
    """LM."""
    return {
        "info": {
            "model_id": found.model_id,
            "experiment_id": str(found.experiment_id),
            "name": found.name,
            "creation_timestamp_ms": found.created_ms,
            "last_updated_timestamp_ms": found.updated_ms,
            "artifact_uri": f"{found.artifact_root}/models/{found.model_id}/artifacts",
            "status": found.status,
            "model_type": found.model_type,
            "source_run_id": found.source_run_id,
            **without_empty(tags=pairs(found.tags)),
        },
        "data": without_empty(
            params=pairs(found.params),
            metrics=[metric(point) | {"run_id": run_id} for run_id, point in found.metrics],
        ),
    }


def version(found: Version, *, aliases: bool = False) -> Json:
    """MV. Stock shows aliases only where one version was asked for."""
    return {
        "name": found.name,
        "version": str(found.number),
        "creation_timestamp": found.created_ms,
        "last_updated_timestamp": found.updated_ms,
        "current_stage": found.stage,
        "description": found.description,
        "source": found.source,
        "run_id": found.run_id,
        "status": "READY",
        **without_empty(tags=pairs(found.tags)),
        "run_link": found.run_link,
        **without_empty(aliases=list(found.aliases) if aliases else None),
    }


def versions(found: Sequence[Version], *, aliases: bool = False) -> list[Json]:
    """Several."""
    return [version(one, aliases=aliases) for one in found]


def registered_model(found: RegisteredModel) -> Json:
    """RM."""
    return {
        "name": found.name,
        "creation_timestamp": found.created_ms,
        "last_updated_timestamp": found.updated_ms,
        **without_empty(
            description=found.description,
            latest_versions=versions(found.latest),
            tags=pairs(found.tags),
            aliases=[{"alias": alias, "version": str(number)} for alias, number in found.aliases.items()],
        ),
    }
