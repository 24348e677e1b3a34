"""What can go wrong between a digest and its bytes."""

from driftloop_artifacts.digest import Digest


class ArtifactError(Exception):
    """Something stands between a digest and its bytes."""


class ArtifactMissing(ArtifactError):
    """The store holds nothing under this digest."""

    def __init__(self, digest: Digest, where: str) -> None:
        super().__init__(f"no artifact {digest} in {where}; put it again from its source, or correct the store's URL")
        self.digest = digest


class ArtifactCorrupt(ArtifactError):
    """The bytes under this digest are not the bytes that were put. None of them were returned as whole."""

    def __init__(self, wanted: Digest, found: Digest, where: str) -> None:
        super().__init__(
            f"artifact {wanted} in {where} holds bytes of {found}; "
            "do not use it: put the original bytes again, which replaces it, and check the disk"
        )
        self.wanted = wanted
        self.found = found


class ArtifactTooLarge(ArtifactError):
    """The artifact has more bytes than its reader, or the store, allows."""

    def __init__(self, what: str, size_bytes: int, max_bytes: int) -> None:
        super().__init__(
            f"{what} has at least {size_bytes} bytes, allowed are {max_bytes}; raise max_bytes if that is meant"
        )
        self.size_bytes = size_bytes
        self.max_bytes = max_bytes


class StoreUnavailable(ArtifactError):
    """The store did not answer, or refused. Nothing is known about the artifact; trying again is safe."""

    def __init__(self, doing: str, where: str, why: str) -> None:
        super().__init__(f"{doing} failed in {where}: {why}; the same call may be repeated once the store is back")
        self.where = where
