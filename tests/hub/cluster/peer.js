// A Node server on the official Redis adapter, the official emitter and stock clients of that
// server, driven line by line: [number, operation, ...args] in, [number, result] out.
// Bytes travel as {"$b": base64}.
const { createServer } = require("http");
const readline = require("readline");
const { Server } = require("socket.io");
const { createAdapter, createShardedAdapter } = require("@socket.io/redis-adapter");
const { Emitter } = require("@socket.io/redis-emitter");
const { createClient, createCluster } = require("redis");
const { io: connect } = require("socket.io-client");

const [url, key, kind] = process.argv.slice(2);

const encode = (value) => JSON.stringify(value, (_, item) => {
  if (item instanceof Set || item instanceof Map) return [...item];
  if (item && item.type === "Buffer" && Array.isArray(item.data)) {
    return { $b: Buffer.from(item.data).toString("base64") };
  }
  return item;
});
const decode = (value) => {
  if (Array.isArray(value)) return value.map(decode);
  if (value === null || typeof value !== "object") return value;
  if ("$b" in value) return Buffer.from(value.$b, "base64");
  if ("$date" in value) return new Date(value.$date);
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, decode(v)]));
};

(async () => {
  const nodes = url.startsWith("redis+cluster://") && url.split("//")[1].split(",");
  const pub = nodes
    ? createCluster({ rootNodes: nodes.map((node) => ({ url: `redis://${node}` })) })
    : createClient({ url });
  const sub = pub.duplicate();
  if (nodes) {
    // As deploy/docs/cluster.md says.
    pub.publish = async (channel, message) =>
      (await pub.nodeClient(pub.masters[0])).publish(channel, message);
  }
  await Promise.all([pub.connect(), sub.connect()]);
  const http = createServer();
  const adapter = kind === "sharded"
    ? createShardedAdapter(pub, sub, { channelPrefix: key })
    : createAdapter(pub, sub, { key, requestsTimeout: 3000 });
  const io = new Server(http, { adapter });
  const emitter = new Emitter(pub, { key });
  const served = [];
  io.on("hello", (...args) => served.push(args));
  io.on("who", (arg, callback) => callback({ from: "node", arg }));
  io.on("connection", (socket) => {
    socket.data.name = socket.handshake.auth.name;
    socket.join(socket.handshake.auth.rooms);
  });
  await new Promise((done) => http.listen(0, "127.0.0.1", done));
  const clients = new Map();

  const operator = (source, { rooms = [], except = [], volatile, timeout }) => {
    let op = source;
    if (rooms.length) op = op.to(rooms);
    if (except.length) op = op.except(except);
    if (volatile) op = op.volatile;
    if (timeout) op = op.timeout(timeout);
    return op;
  };
  const operations = {
    async client(name, rooms) {
      const port = http.address().port;
      const socket = connect(`http://127.0.0.1:${port}`, {
        auth: { name, rooms, token: "secret" }, forceNew: true, transports: ["websocket"],
      });
      const received = [];
      socket.onAny((...args) => {
        const answer = args[args.length - 1];
        if (typeof answer === "function") {
          args.pop();
          answer({ from: name }, "second");
        }
        received.push(args);
      });
      clients.set(name, { socket, received });
      await new Promise((done) => socket.on("connect", done));
      return socket.id;
    },
    received: (name) => clients.get(name).received,
    connected: (name) => clients.get(name).socket.connected,
    served: () => served,
    rooms: (sid) => io.of("/").adapter.socketRooms(sid),
    emit: (to, ...args) => void operator(io, to).emit(...args),
    emitter: (to, ...args) => void operator(emitter, to).emit(...args),
    ask: (to, ...args) => operator(io, to).emitWithAck(...args).catch((error) => error.responses),
    async fetch(to) {
      const sockets = await operator(io, to).fetchSockets();
      return sockets.map(({ id, rooms, data, handshake }) => ({ id, rooms, data, handshake }));
    },
    join: (to, rooms) => operator(io, to).socketsJoin(rooms),
    leave: (to, rooms) => operator(io, to).socketsLeave(rooms),
    disconnect: (to, close) => operator(io, to).disconnectSockets(close),
    emitterJoin: (to, rooms) => operator(emitter, to).socketsJoin(rooms),
    emitterLeave: (to, rooms) => operator(emitter, to).socketsLeave(rooms),
    emitterDisconnect: (to, close) => operator(emitter, to).disconnectSockets(close),
    emitterServerSideEmit: (...args) => emitter.serverSideEmit(...args),
    serverSideEmit: (...args) => io.serverSideEmit(...args),
    serverSideAsk: (...args) => io.serverSideEmitWithAck(...args).catch((e) => e.responses),
    serverCount: () => io.of("/").adapter.serverCount(),
    allRooms: () => io.of("/").adapter.allRooms(),
  };
  readline.createInterface({ input: process.stdin }).on("line", async (line) => {
    const [number, operation, ...args] = decode(JSON.parse(line));
    let answer;
    try {
      answer = [number, (await operations[operation](...args)) ?? null];
    } catch (error) {
      answer = [number, null, String(error)];
    }
    process.stdout.write(encode(answer) + "\n");
  }).on("close", () => process.exit(0));
  // The adapter subscribes without telling when it is done; the requests come last.
  const requests = `${key}-request#/#`, shard = `${key}#/#`;
  const listening = async () => nodes ? io.of("/").adapter.serverCount() : kind === "sharded"
    ? (await pub.pubSubShardNumSub([shard]))[shard]
    : (await pub.pubSubNumSub(requests))[requests];
  while (!(await listening())) await new Promise(setImmediate);
  process.stdout.write(encode([0, http.address().port]) + "\n");
})();
