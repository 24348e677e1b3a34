"""The decisions, pure: no clock, no randomness, no wire types."""
