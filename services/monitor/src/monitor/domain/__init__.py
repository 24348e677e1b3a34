"""The decisions, pure: old state in, new state and verdicts out. Times are microseconds since the epoch, UTC."""
