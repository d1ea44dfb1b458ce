"""Web Push: the browsers' own push services (RFC 8030, RFC 8291, RFC 8292)."""
