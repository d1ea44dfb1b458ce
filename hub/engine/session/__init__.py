"""One peer's session, whatever carries it: our listening socket, WebSockets, polls, limits, clocks
and what waits to be written. It knows whom it speaks to by the protocol `link.Hearer` alone."""
