// Many stock clients in one process. stdin: one JSON line of what to be, then orders, one a line;
// stdout: JSON lines of what they got.
//
// First line: {url, clients: [{name, token, questions}], event, options}. Prints {ready: n} as
// clients have joined their rooms for the first time. Orders: {"do": "report"} prints one line a
// client {name, heard, gaps, offset} and then {end: true}; `heard` has the `seq` of each event in
// order, "told" where the client was told that it was not recovered and "back" where it was in its
// rooms again. {"do": "drop"} breaks every connection without a word.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
const plan = JSON.parse((await lines.next()).value);
const people = [];
let joined = 0;

class Person {
  constructor({ name, token, questions }) {
    Object.assign(this, { name, questions, heard: [], gaps: [], waits: [], lies: 0, first: true });
    this.socket = io(plan.url, {
      transports: ["websocket"],
      forceNew: true,
      auth: (give) => give({ token }),
      ...plan.options,
    });
    this.socket.on(plan.event, (data) => {
      this.heard.push(data.seq);
      if (data.ts) this.waits.push(Date.now() - data.ts);
    });
    this.socket.on("ready", (ready) => this.#ready(ready));
    this.socket.on("disconnect", () => (this.lost = performance.now()));
    this.socket.on("connect_error", (error) => (this.refusal = error.data ?? error.message));
  }

  async #ready({ recovered }) {
    if (recovered !== this.socket.recovered) this.lies += 1;
    if (this.lost) this.gaps.push(performance.now() - this.lost);
    this.lost = 0;
    if (recovered) return;
    const sid = this.socket.id;
    if (!this.first) this.heard.push("told");
    for (const questionId of this.questions) await this.#join(questionId, sid);
    if (this.first) say({ ready: (joined += 1) });
    else if (this.socket.id === sid) this.heard.push("back");
    this.first = false;
  }

  async #join(questionId, sid) {
    while (this.socket.id === sid) {
      const answer = await new Promise((done) =>
        this.socket.timeout(10000).emit("question:join", { questionId }, (_, got) => done(got)),
      );
      if (answer?.ok) return;
      await new Promise((done) => setTimeout(done, answer?.error?.retryAfterMs ?? 1000));
    }
  }
}

// A phone does not connect in the same millisecond as a thousand others.
for (const one of plan.clients) {
  people.push(new Person(one));
  await new Promise((done) => setTimeout(done, plan.apartMs ?? 2));
}

for await (const line of lines) {
  const order = JSON.parse(line);
  if (order.do === "report") {
    for (const { name, heard, gaps, waits, lies, socket, refusal } of people)
      say({ name, heard, gaps, waits, lies, connected: socket.connected, refusal });
    say({ end: true });
  } else if (order.do === "drop") {
    for (const { socket } of people) socket.io.engine?.transport.ws?.terminate();
  }
}
process.exit(0);
