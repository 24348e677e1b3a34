"""The HTTP doors: one file per protocol."""
