"""What holds without a store, a socket or a clock: facts and the time come in, decisions go out."""
