"""What exists and what may serve: declarations, versions, aliases, gates, rollouts, runs; and why."""
