"""The registry's handlers: one class, one method per message; beside it what MLflow's clients ask."""

from registry.handlers.registry import Registry
from registry.handlers.room import Room

__all__ = ["Registry", "Room"]
