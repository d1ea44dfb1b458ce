// The official server with both parsers; each event is acknowledged with its name and the number
// of its arguments. Prints its port.
const http = require("http");
const { Server } = require("socket.io");
const msgpack = require("socket.io-msgpack-parser");

const server = http.createServer();
for (const [path, parser] of [["/socket.io/", undefined], ["/socket.io-msgpack/", msgpack]]) {
  const io = new Server(server, parser ? { path, parser } : { path });
  for (const name of ["/", "/custom"])
    io.of(name).on("connection", (socket) =>
      socket.onAny((name, ...args) => {
        const answer = args.pop();
        if (typeof answer === "function") answer(String(name), args.length);
      }),
    );
}
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit()).resume();
