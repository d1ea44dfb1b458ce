// Somebody in a stream's rooms: a stock Socket.IO client on its three namespaces.

import { fetchToken } from "./hub.js";

const ACK_MS = 5000;
const KEPT_MESSAGES = 100;

export class Viewer {
  /** `watches`: counts as a viewer and hears of products; otherwise it is in the chat alone.
   * `changed(viewer)` is called whenever something to be shown has changed. */
  constructor(persona, streamKey, changed) {
    Object.assign(this, { watches: true, ...persona, streamKey });
    this.changed = () => changed(this);
    this.wanted = false; // switched on
    this.state = "off";
    this.viewers = null;
    this.products = new Map();
    this.soldOut = null; // the product that the banner names
    this.messages = new Map();
    this.barred = false; // banned, as far as this person was told
    this.shown = new Set(); // an event may come twice around a crash, with the same id
  }

  async switchOn() {
    this.wanted = true;
    this.state = "connecting";
    this.changed();
    if (!this.manager) {
      await this.#renew();
      this.#open();
    }
    if (this.wanted) for (const socket of this.sockets) socket.connect();
  }

  switchOff() {
    this.wanted = false;
    this.state = "off";
    for (const socket of this.sockets ?? []) socket.disconnect();
    this.viewers = null;
    this.changed();
  }

  async say(content) {
    const { streamKey: roomId } = this;
    const clientMessageId = crypto.randomUUID(); // sent again, it would name the same message
    try {
      await tell(this.chat, "chat:send-message", { roomId, content, clientMessageId });
    } catch (error) {
      if (error.code !== "FORBIDDEN") throw error;
      this.barred = true; // we were put out of the room; nobody else is told
      this.changed();
    }
  }

  async erase(messageId) {
    await tell(this.chat, "chat:delete-message", { roomId: this.streamKey, messageId });
  }

  /** Until when; 0 minutes let the person in again. */
  async ban(userId, minutes) {
    const banned = await tell(this.chat, "chat:ban", { roomId: this.streamKey, userId, minutes });
    return banned.bannedUntil;
  }

  /** Into the chat again, once a ban is over. */
  async enterChat() {
    try {
      const room = await tell(this.chat, "chat:join-room", { roomId: this.streamKey });
      this.barred = false;
      for (const message of room.recent ?? []) this.#keepMessage(message);
    } catch (error) {
      if (error.code !== "FORBIDDEN") throw error;
      this.barred = true;
    }
    this.changed();
  }

  // The sockets: one connection, three namespaces.

  #open() {
    this.manager = new io.Manager(location.origin, {
      transports: ["websocket", "polling"], // in this order (S5-51)
      autoConnect: false,
    });
    this.chat = this.#socket("/chat");
    this.sockets = [this.chat];
    if (this.watches) this.sockets.push(this.#main(), this.#streaming());
    this.chat.on("connect", () => this.#joined(this.chat, () => this.enterChat()));
    this.#on(this.chat, "chat:message", (message) => this.#keepMessage(message));
    this.#on(this.chat, "chat:message-deleted", ({ messageId }) => {
      const message = this.messages.get(messageId);
      if (message) message.deleted = true;
    });
  }

  #socket(name) {
    const socket = this.manager.socket(name, { auth: (give) => give({ token: this.token }) });
    socket.on("connect_error", (error) => this.#refused(socket, error));
    socket.on("disconnect", () => {
      this.state = this.wanted ? "connecting" : "off";
      this.changed();
    });
    return socket;
  }

  #main() {
    const socket = this.#socket("/");
    socket.on("connect", () =>
      this.#joined(socket, () => tell(socket, "join:stream", { streamKey: this.streamKey })));
    for (const word of ["added", "updated", "soldout", "deleted"])
      this.#on(socket, `live:product:${word}`, ({ data }) => this.#keepProduct(word, data));
    return socket;
  }

  #streaming() {
    const socket = this.#socket("/streaming");
    socket.on("connect", () => this.#joined(socket, async () => {
      const { streamKey } = this;
      this.viewers = (await tell(socket, "stream:viewer:join", { streamKey })).viewers;
    }));
    this.#on(socket, "stream:viewer:count", ({ viewers }) => { this.viewers = viewers; });
    return socket;
  }

  /** A recovered socket is in its rooms already, and was sent what it missed. */
  async #joined(socket, join) {
    try {
      if (!socket.recovered) await join();
    } catch {
      return; // the connection went: the next `connect` asks again
    }
    this.state = this.sockets.every((one) => one.connected) ? "on" : this.state;
    this.changed();
  }

  async #refused(socket, error) {
    if (error.data?.code !== "TOKEN_EXPIRED") return; // the client tries again by itself
    await this.#renew();
    if (this.wanted) socket.connect();
  }

  #on(socket, event, handle) {
    socket.on(event, (data) => {
      if (this.shown.has(data.id)) return;
      this.shown.add(data.id);
      handle(data);
      this.changed();
    });
  }

  #keepMessage(message) {
    if (this.messages.has(message.messageId)) return;
    this.messages.set(message.messageId, message);
    if (this.messages.size > KEPT_MESSAGES) this.messages.delete(this.messages.keys().next().value);
  }

  #keepProduct(word, product) {
    if (word === "deleted") this.products.delete(product.productId);
    else this.products.set(product.productId, { ...product, soldOut: word === "soldout" });
    if (word === "soldout") this.soldOut = product;
    else if (this.soldOut?.productId === product.productId) this.soldOut = null;
  }

  async #renew() {
    this.token = await fetchToken(this);
  }
}

async function tell(socket, event, data) {
  const answer = await socket.timeout(ACK_MS).emitWithAck(event, data);
  if (!answer.ok) throw Object.assign(new Error(answer.error.message), answer.error);
  return answer;
}
