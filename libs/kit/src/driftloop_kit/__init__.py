"""What every service has and none should write: lifecycle, ledger, jobs, HTTP, telemetry, settings."""
