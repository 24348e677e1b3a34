"""MLflow's refusals: one code, one status, and the very words that its clients show."""

from collections.abc import Mapping
from typing import Final

from driftloop_bus.errors import Refused

STATUS: Final[Mapping[str, int]] = {
    "BAD_REQUEST": 400,
    "ENDPOINT_NOT_FOUND": 404,
    "INTERNAL_ERROR": 500,
    "INVALID_PARAMETER_VALUE": 400,
    "INVALID_STATE": 500,
    "PERMISSION_DENIED": 403,
    "RESOURCE_ALREADY_EXISTS": 400,
    "RESOURCE_DOES_NOT_EXIST": 404,
    "TEMPORARILY_UNAVAILABLE": 503,
    "UNAUTHENTICATED": 401,
}


def refused(code: str, message: str) -> Refused:
    """An error of MLflow's protocol."""
    return Refused(message, STATUS[code], error_code=code)


def invalid(message: str) -> Refused:
    """The caller's mistake."""
    return refused("INVALID_PARAMETER_VALUE", message)


def absent(message: str) -> Refused:
    """Nothing of that name."""
    return refused("RESOURCE_DOES_NOT_EXIST", message)


def taken(message: str) -> Refused:
    """The name is in use."""
    return refused("RESOURCE_ALREADY_EXISTS", message)


def no_experiment(experiment_id: object) -> Refused:
    """No experiment of this id, or none in the state that was asked for."""
    return absent(f"No Experiment with id={experiment_id} exists")


def no_run(run_id: str) -> Refused:
    """No run of this id."""
    return absent(f"Run with id={run_id} not found")


def no_model(name: str) -> Refused:
    """No registered model of this name."""
    return absent(f"Registered Model with name={name} not found")


def no_version(name: str, version: object) -> Refused:
    """No such version."""
    return absent(f"Model Version (name={name}, version={version}) not found")


def no_logged_model(model_id: str) -> Refused:
    """No logged model of this id."""
    return absent(f"Logged model with ID '{model_id}' not found.")


def not_active(what: str, name: object) -> Refused:
    """It was deleted."""
    return invalid(f"The {what} {name} must be in the 'active' state. Current state is deleted.")
