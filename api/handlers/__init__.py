"""What the routes do: a file a noun. The first line of a docstring is what the API page says."""
