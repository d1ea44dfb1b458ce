"""Forms of the REST API, both ways: a file a noun, and what a row of its table says."""
