"""What is said: WebSocket frames, the packets of Engine.IO and Socket.IO, and requests that open
sessions. Bytes in, values out; nothing here holds a connection."""
