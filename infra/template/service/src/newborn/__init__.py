"""Knows what serves each model."""
