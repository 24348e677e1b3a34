"""The feature store's doors: Feast's own protocol, and where people look up single rows."""
