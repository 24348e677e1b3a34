"""What the registry needs from outside, one protocol a subject."""

from registry.ports.chain import Audit, Chain, Link, Sealed
from registry.ports.models import Declared, Models, Moved, Registered, Standing

__all__ = ["Audit", "Chain", "Declared", "Link", "Models", "Moved", "Registered", "Sealed", "Standing"]
