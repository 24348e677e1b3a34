"""The registry's handlers: one class, one method per message."""

from registry.handlers.registry import Registry

__all__ = ["Registry"]
