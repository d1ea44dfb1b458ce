"""The environment as values: read once, checked together, frozen, shown without secrets."""
