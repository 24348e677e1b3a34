"""What is refused here. Bad data never raises: it is counted, and never reaches a detector."""


class DetectError(Exception):
    """A caller asked for what cannot be given."""


class DetectorRefused(DetectError):
    """The catalogue does not run this detector, or not with these parameters."""


class NotReady(DetectError):
    """The reference is too small, or does not vary, so nothing could be compared with it."""


class SnapshotRejected(DetectError):
    """The bytes are no state of this detector. Nothing was restored; prime a new one."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"snapshot rejected: {reason}; nothing was restored, prime a new detector instead")
        self.reason = reason
