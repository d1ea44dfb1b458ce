"""The clock, the life of a process, and states that last."""
