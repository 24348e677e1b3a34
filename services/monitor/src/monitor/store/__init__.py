"""What the monitor remembers: in Postgres, and the same in memory."""
