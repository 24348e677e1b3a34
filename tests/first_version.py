"""A model as the registry tells of it when its first version answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from driftloop_contracts.control_plane import DeploymentChanged, ModelDeclared, ServedVersion
from driftloop_contracts.documents import ModelDeclaration


def first_version(
    document: ModelDeclaration,
    digest: str,
    features: Mapping[str, str],
    since: datetime,
    artifact_format: str = "driftloop-table-model",
) -> tuple[ModelDeclared, DeploymentChanged]:
    """It is declared, and then its version 1, of the bytes of this digest, is its champion."""
    champion = ServedVersion(
        version="1", artifact_digest=digest, artifact_format=artifact_format, features=dict(features), since=since
    )
    return (
        ModelDeclared(model=document.model, document=document, digest="sha256:0", applied_by="ops"),
        DeploymentChanged(model=document.model, revision=1, champion=champion, challengers=[], reason="first"),
    )
