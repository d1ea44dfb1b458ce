// The stock JavaScript client: prints [name, …arguments] a line for all that happens to it.
const { io } = require("socket.io-client");
const parser = process.argv[4] === "msgpack" ? require("socket.io-msgpack-parser") : undefined;
const socket = io(process.argv[2], {
  auth: (give) => give({ token: process.argv[3] }),
  path: parser ? "/socket.io-msgpack/" : "/socket.io/",
  parser,
  reconnectionDelay: 50,
  reconnectionDelayMax: 100,
});
const say = (...what) => process.stdout.write(JSON.stringify(what) + "\n");
socket.on("connect", () => say("connect", { recovered: socket.recovered, id: socket.id }));
socket.on("connect_error", (error) => say("connect_error", { message: error.message, data: error.data }));
socket.on("disconnect", (reason) => say("disconnect", reason));
socket.onAny((event, data) => say(event, data));
process.stdin.on("data", (line) => {
  const [event, data] = JSON.parse(line);
  socket.emit(event, data, (ack) => say("ack", ack));
});
process.stdin.on("end", () => process.exit(0));
