"""The feature store: what was known when."""
