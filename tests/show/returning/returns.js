// The stock JavaScript client: URL TRANSPORTS TOKEN…; prints "ready" whenever it is (again).
const { io } = require("socket.io-client");
const [url, transports, ...tokens] = process.argv.slice(2);
let readies = 0;
const socket = io(url, {
  transports: transports.split(","),
  auth: (give) => give({ token: tokens[Math.min(readies, tokens.length - 1)] }),
});
socket.on("ready", () => {
  readies += 1;
  console.log("ready");
});
socket.on("server:shutdown", () => console.log("told"));
socket.on("connect_error", (error) => console.error("connect_error", error.message));
socket.on("disconnect", (reason) => console.error("disconnect", reason));
