"""Many streams watched by one detector: their state as arrays, stepped a block of rows at a time."""
