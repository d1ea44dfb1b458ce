// The official server, as the judge: prints its port, echoes `echo` and sends `tick` where asked.
const { Server } = require("socket.io");
const http = require("node:http").createServer();
const io = new Server(http, { maxHttpBufferSize: 1e6 });
io.on("connection", (socket) => {
  socket.on("echo", (...args) => socket.emit("echo", ...args));
  socket.on("tick", (number) => socket.emit("tick", number));
});
http.listen(0, "127.0.0.1", () => console.log(http.address().port));
process.stdin.on("end", () => process.exit(0)).resume();
