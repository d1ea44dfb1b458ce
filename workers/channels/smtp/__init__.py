"""Mail through one SMTP server (RFC 5321)."""
