"""Windows and buckets: over all nodes by Redis, or in one process while Redis is away."""
