"""Where the registry's state lies: in memory for tests, in Postgres."""
