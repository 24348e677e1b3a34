"""Drift statistics: pure, on arrays, with no I/O, no clock and no randomness but a given seed."""
