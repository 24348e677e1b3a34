"""A service with a bug that a setting takes away: what it cannot handle is parked."""
