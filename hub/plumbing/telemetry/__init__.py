"""What a process tells about itself: logs, metrics, the ids that follow a request."""
