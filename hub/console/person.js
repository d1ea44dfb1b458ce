// One person on the page: a stock Socket.IO client of their own, and what they have been told.

import { call, explain, fetchToken } from "./hub.js";

const KEPT_EVENTS = 40;
const ACK_MS = 5000;
const RELOADED = 3;
export const ENDED = ["answered", "closed", "expired"];

export class Person {
  /** `changed(person)` is called whenever something to be shown has changed. */
  constructor(persona, changed) {
    Object.assign(this, persona);
    this.changed = () => changed(this);
    this.wanted = false; // switched on
    this.state = "off";
    this.recovered = null;
    this.latency = null;
    this.unread = 0;
    this.points = null;
    this.inbox = new Map();
    this.questions = new Map();
    this.pushes = []; // filled from the local catcher
    this.takenBack = null; // when a silent message last took a push away
    this.problem = null;
    this.events = [];
    this.after = 0; // where our copy of the inbox stands
    this.shown = new Set(); // an event may come twice around a crash, with the same id
    this.unacknowledged = { ids: new Set(), questionIds: new Set() };
    document.addEventListener("visibilitychange", () => this.#acknowledge());
  }

  async switchOn() {
    this.wanted = true;
    this.state = "connecting";
    this.changed();
    if (!this.socket) {
      await this.#renew();
      await this.#registerPhone();
      this.socket = this.#open();
    }
    if (this.wanted) this.socket.connect();
  }

  switchOff() {
    this.wanted = false;
    this.state = "off";
    this.socket?.disconnect();
    this.changed();
  }

  /** As a tunnel does: the client comes back by itself, and asks for what it missed. */
  drop() {
    this.socket?.io.engine?.close();
  }

  async ask(form) {
    const question = await this.#call("POST", "/questions", { ...form, urgency: "urgent" });
    this.#keepQuestion({ ...question, mine: true });
  }

  async answer(questionId, content) {
    const written = await this.#call("POST", "/answers", { questionId, content });
    this.questions.get(questionId).answers.set(written.id, written);
    this.changed();
  }

  async accept(questionId, answerId) {
    const accepted = await this.#call("PUT", `/answers/${encodeURIComponent(answerId)}/accept`);
    this.questions.get(questionId).answers.set(answerId, accepted);
    this.changed();
  }

  /** Says that this person is answering, or no longer. */
  async claim(questionId, wanted) {
    const event = wanted ? "question:claim" : "question:release";
    const { claims, leaseUntil } = await this.#tell(event, { questionId });
    this.#change(questionId, { claims, claimedUntil: leaseUntil });
    this.changed();
  }

  /** The alert was opened here: it leaves this person's other screens. */
  async readAlert(questionId) {
    const rows = [...this.inbox.values()].filter((row) => row.questionId === questionId && !row.readAt);
    if (rows.length) await this.markRead(rows.map((row) => row.id));
    this.#endQuestion(questionId, "read");
    this.changed();
  }

  /** A tap on a push: the app opens, and says that this one was read. */
  async openPush(push) {
    if (!this.wanted) await this.switchOn();
    this.pushes = this.pushes.filter((one) => one !== push);
    await this.#call("POST", "/notifications/acks", { ids: [push.data.notificationId], state: "read" });
    this.changed();
  }

  /** What the phone is handed: a push to show, or the silent message that takes it back. */
  take(push) {
    if (!push.silent) this.pushes.unshift(push);
    const shown = this.pushes.filter((one) => push.silent && one.collapseId === push.collapseId);
    if (!shown.length) return;
    this.pushes = this.pushes.filter((one) => !shown.includes(one));
    this.takenBack = push.at;
  }

  /** Why this person was told of a question, or was not, as the hub's operator reads it. */
  explain = (questionId) => explain(this.id, questionId);

  async markSeen() {
    const ids = [...this.inbox.values()].filter((row) => !row.seenAt).map((row) => row.id);
    if (ids.length) await this.#tell("notification:seen", { ids: ids.slice(-100) });
    await this.#sync();
  }

  async markRead(ids) {
    const rows = ids ? { ids } : { all: true };
    this.unread = (await this.#tell("notification:read", rows)).unread;
    await this.#sync();
  }

  // The socket: the same few habits as the client of the README.

  #open() {
    const socket = io({
      transports: ["websocket", "polling"], // in this order (S5-51)
      autoConnect: false,
      forceNew: true, // a connection for each person, not one for the page
      auth: (give) => give({ token: this.token }),
    });
    socket.on("connect_error", (error) => this.#refused(error));
    socket.on("disconnect", () => {
      this.state = this.wanted ? "connecting" : "off";
      this.changed();
    });
    socket.on("ready", (ready) => this.#ready(ready).catch((error) => this.#fail(error)));
    for (const [event, handle] of Object.entries(this.#handlers())) {
      socket.on(event, (data) => this.#take(event, data, handle));
    }
    return socket;
  }

  async #refused(error) {
    if (error.data?.code === "TOKEN_EXPIRED") {
      await this.#renew();
      if (this.wanted) this.socket.connect();
    } // whatever else is temporary: the client tries again by itself
  }

  async #ready(ready) {
    this.state = "on";
    this.recovered = this.socket.recovered;
    this.unread = ready.unread ?? this.unread;
    this.pushes = []; // whoever opens the app has no need of them
    this.#log("ready", ready);
    this.changed();
    if (this.recovered) return; // nothing was missed
    await this.#tell("location:update", { lat: this.lat, lng: this.lng, accuracyM: 20 });
    const missed = await this.#sync();
    await this.#reload(missed.map((row) => row.questionId));
  }

  #take(event, data, handle) {
    if (this.shown.has(data.id)) return;
    this.shown.add(data.id);
    this.#log(event, data);
    handle(data);
    this.changed();
  }

  #handlers() {
    return {
      "question:urgent": (data) => {
        if (data.wave === 1) this.latency = Date.now() - Date.parse(data.createdAt);
        this.#keepQuestion({ ...data, content: data.excerpt });
        this.#acknowledge({ questionIds: [data.questionId] });
        this.#follow(data.questionId);
      },
      "question:wave": (data) => this.#widened(data),
      "question:claimed": ({ questionId, claims, leaseUntil }) =>
        this.#change(questionId, { claims, claimsUntil: leaseUntil }),
      "question:unanswered": ({ questionId, notified }) => {
        this.#change(questionId, { told: notified });
        this.#endQuestion(questionId, "expired");
      },
      "question:answered": (data) => this.#endQuestion(data.questionId, "answered"),
      "question:retracted": (data) => this.#endQuestion(data.questionId, data.reason),
      "question:closed": (data) => this.#endQuestion(data.questionId, data.status),
      "answer:created": (data) => this.#answered(data),
      "answer:accepted": (data) => this.#accepted(data),
      "points:awarded": (data) => {
        this.points = data.balance;
        const question = this.questions.get(data.questionId);
        if (question) question.gained = data.points;
      },
      "notification:new": (data) => this.#acknowledge({ ids: [data.id] }),
      "notification:updated": (data) => {
        if (data.state === "read") this.#readElsewhere(data.ids);
        this.#refresh();
      },
      "inbox:unread": (data) => {
        this.unread = data.count;
        this.#refresh();
      },
    };
  }

  #answered(data) {
    this.latency = Date.now() - Date.parse(data.createdAt);
    const { answerId: id, answerer: author, excerpt: content } = data;
    const question = this.questions.get(data.questionId);
    if (question && !question.answers.has(id)) question.answers.set(id, { id, author, content });
    this.#endQuestion(data.questionId, "answered");
    if (question?.mine && data.notificationId) this.#acknowledge({ ids: [data.notificationId] });
  }

  /** An opened card hears who is answering it. */
  #follow(questionId) {
    this.#tell("question:join", { questionId }).catch(() => {}); // the card is shown without it
  }

  async #widened({ questionId, wave, told, acknowledged, nextAt }) {
    if (!this.questions.has(questionId)) await this.#reload([questionId]); // asked on another screen
    this.#change(questionId, { wave, told, acknowledged, nextAt });
    this.changed();
  }

  #readElsewhere(ids) {
    for (const id of ids) this.#endQuestion(this.inbox.get(id)?.questionId, "elsewhere");
  }

  #accepted(data) {
    const answer = this.questions.get(data.questionId)?.answers.get(data.answerId);
    if (answer) answer.isAccepted = true;
    if (data.answererId === this.id && data.notificationId)
      this.#acknowledge({ ids: [data.notificationId] });
  }

  /** Only what somebody can see counts as shown; the rest waits until the page is visible. */
  #acknowledge({ ids = [], questionIds = [] } = {}) {
    const waiting = this.unacknowledged;
    for (const id of ids) waiting.ids.add(id);
    for (const id of questionIds) waiting.questionIds.add(id);
    const nothing = !waiting.ids.size && !waiting.questionIds.size;
    if (nothing || document.visibilityState !== "visible" || !this.socket?.connected) return;
    const shown = { ids: [...waiting.ids], questionIds: [...waiting.questionIds] };
    this.unacknowledged = { ids: new Set(), questionIds: new Set() };
    this.#tell("notification:ack", shown).catch(() => this.#acknowledge(shown));
  }

  /** Brings our copy of the inbox up to date; the rows that changed. */
  async #sync() {
    const changed = [];
    let page;
    do {
      page = await this.#tell("inbox:sync", { after: this.after });
      if (page.reset) this.inbox.clear();
      for (const row of page.items) {
        if (row.deleted) this.inbox.delete(row.id);
        else this.inbox.set(row.id, row);
      }
      changed.push(...page.items);
      this.after = page.next;
    } while (page.items.length === 100);
    this.unread = page.unread;
    this.changed();
    return changed;
  }

  #refresh() {
    this.#sync().catch(() => {}); // the connection went: the next `ready` asks again
  }

  async #tell(event, data) {
    const answer = await this.socket.timeout(ACK_MS).emitWithAck(event, data);
    if (!answer.ok) throw Object.assign(new Error(answer.error.message), answer.error);
    return answer;
  }

  // What happened while we were away: the page keeps nothing, the hub knows.

  /** The newest of the questions that missed rows name; at first our own open ones, too. */
  async #reload(named) {
    const ids = new Set(this.reloaded ? [] : await this.#ownQuestions());
    this.reloaded = true;
    named.filter(Boolean).forEach((id) => ids.add(id));
    for (const id of [...ids].slice(-RELOADED)) {
      const path = `/questions/${encodeURIComponent(id)}`;
      const question = await this.#call("GET", path);
      const answers = await this.#call("GET", `${path}/answers`);
      this.#keepQuestion({ ...question, mine: question.author.userId === this.id });
      for (const one of answers.items) this.questions.get(id).answers.set(one.id, one);
      if (this.questions.get(id).state === "wave") this.#follow(id);
    }
    this.changed();
  }

  async #ownQuestions() {
    const open = await this.#call("GET", "/questions?region=jeju");
    return open.questions.filter((one) => one.author.userId === this.id).map((one) => one.id).reverse();
  }

  #keepQuestion(question) {
    const id = question.questionId ?? question.id;
    const before = this.questions.get(id);
    const ended = ENDED.includes(question.urgentState) ? question.urgentState : null;
    const state = ended ?? before?.state ?? "wave"; // open and claimed ones wait, too
    const answers = before?.answers ?? new Map();
    const endedAt = before?.endedAt ?? (ended ? question.updatedAt : null);
    this.questions.set(id, { ...before, ...question, id, state, answers, endedAt });
    this.changed();
  }

  #change(id, fields) {
    const question = this.questions.get(id);
    if (question) Object.assign(question, fields);
  }

  #endQuestion(id, state) {
    const question = this.questions.get(id);
    if (!question || ENDED.includes(question.state)) return;
    Object.assign(question, { state, endedAt: new Date() });
  }

  async #renew() {
    this.token = await fetchToken(this);
    return this.token;
  }

  #registerPhone() {
    const phone = { platform: "android", token: this.phone, appVersion: "console" };
    return this.#call("POST", "/devices", phone);
  }

  get phone() {
    return `console-${this.id}${this.screen ? `-${this.screen}` : ""}`;
  }

  #call(method, path, body) {
    return call({ method, path, body, token: this.token, renew: () => this.#renew() });
  }

  #fail(error) {
    this.problem = error;
    this.changed();
  }

  #log(event, data) {
    this.events.unshift({ at: new Date(), event, data });
    this.events.length = Math.min(this.events.length, KEPT_EVENTS);
  }
}
