"""How we reach Postgres, Redis, the clock and the logs."""
