"""What the monitor does with what it hears."""

from monitor.handlers.monitor import Monitor

__all__ = ["Monitor"]
