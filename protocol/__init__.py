"""What is said: messages, names, errors, tokens. Pure Python, no I/O, imports nothing of ours."""
