"""The ways to PostgreSQL and Redis, and what is written before it is told."""
