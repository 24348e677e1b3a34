"""Serving: which version answers, with which features, and what if it fails."""
