"""A service that counts: each prediction that it hears is a row, and is told on."""
