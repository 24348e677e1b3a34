"""Content-addressed bytes: put returns a digest, get verifies it."""

from driftloop_artifacts.digest import BadDigest, Digest
from driftloop_artifacts.errors import (
    ArtifactCorrupt,
    ArtifactError,
    ArtifactMissing,
    ArtifactTooLarge,
    StoreUnavailable,
)
from driftloop_artifacts.store import ArtifactStore

__all__ = [
    "ArtifactCorrupt",
    "ArtifactError",
    "ArtifactMissing",
    "ArtifactStore",
    "ArtifactTooLarge",
    "BadDigest",
    "Digest",
    "StoreUnavailable",
]
