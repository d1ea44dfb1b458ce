"""`dongne …`: what an operator types, and what each command starts in which order."""
