"""What the stack says to a person when it cannot go on."""


class StackRefused(Exception):
    """Something is missing; the message names it and `next_step` says what to do about it."""

    def __init__(self, missing: str, next_step: str) -> None:
        super().__init__(f"{missing}\n  next step: {next_step}")
        self.missing = missing
        self.next_step = next_step
