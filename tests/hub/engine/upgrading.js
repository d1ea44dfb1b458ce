// The stock client: prints [number, transport, ms since the event was sent] for each `tick`.
const { io } = require("socket.io-client");
const socket = io(process.argv[2], { reconnection: false });
socket.on("tick", (number, at) => {
  const line = [number, socket.io.engine.transport.name, Date.now() - at];
  process.stdout.write(JSON.stringify(line) + "\n");
});
process.stdin.on("end", () => process.exit(0)).resume();
