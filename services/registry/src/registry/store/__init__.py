"""Where the registry's state lies: in memory for tests of its decisions, in Postgres."""
