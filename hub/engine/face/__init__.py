"""python-socketio's face: what arrives reaches the handlers that people attach as they know it."""
