"""Hears predictions and outcomes; says when a model's world has moved, when to learn it again, and which version is better."""
