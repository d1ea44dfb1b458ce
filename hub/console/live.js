// The second tab: a live-commerce page with its viewers, its shop and an operator.

import { byId, h } from "./dom.js";
import { call, fetchToken } from "./hub.js";
import { act } from "./refusals.js";
import { clockText, lang, priceText, t } from "./texts.js";
import { Viewer } from "./viewer.js";

const STREAM = "tangerine-live";
const BAN_MINUTES = 10;

/** What the shop sells; what viewers see of it comes to them as events. */
const PRODUCTS = [
  { productId: "hallabong", price: 29_900, name: { ko: "한라봉 3 kg", en: "Hallabong, 3 kg" } },
  { productId: "gamgyul", price: 15_900, name: { ko: "노지 감귤 5 kg", en: "Tangerines, 5 kg" } },
  { productId: "marmalade", price: 9_900, name: { ko: "감귤 마멀레이드", en: "Marmalade" } },
];

const viewers = [];
const cards = new Map();
const said = new Map(); // what the shop has last said of a product
const banned = new Map(); // person → until when
let keeper = null; // the operator, in the chat
let shopKey = null;

/** Called when the tab is opened: the first time, everybody comes in. */
export function open() {
  if (keeper) return;
  keeper = new Viewer(
    { id: "console-operator", nickname: "운영자", watches: false, colour: "c7" }, STREAM, drawKeeper);
  act(keeper.switchOn());
  addViewer();
  addViewer();
  byId("another-viewer").addEventListener("click", addViewer);
  draw();
}

/** After a change of language. */
export function draw() {
  if (!keeper) return;
  drawShop();
  drawKeeper();
  for (const viewer of viewers) cards.set(viewer, new ViewerCard(viewer));
  byId("viewers").replaceChildren(...[...cards.values()].map((card) => card.node));
}

function addViewer() {
  const number = viewers.length + 1;
  const label = () => t("viewer", { number });
  const persona = { id: `viewer-${number}`, nickname: `시청자 ${number}`, label, colour: `c${number % 8}` };
  const viewer = new Viewer(persona, STREAM, (one) => { cards.get(one)?.refresh(); drawStage(); });
  viewers.push(viewer);
  cards.set(viewer, new ViewerCard(viewer));
  byId("viewers").append(cards.get(viewer).node);
  act(viewer.switchOn());
}

/** Viewers as the hub counts them, from whoever was told last. */
function drawStage() {
  const watching = viewers.find((one) => one.viewers !== null);
  byId("live-viewers").textContent = t("watching", { count: watching?.viewers ?? 0 });
}

// The shop: a service of its own, which publishes to the stream's room over REST.

async function publish(word, product) {
  const data = { productId: product.productId, name: product.name[lang()], price: product.price };
  shopKey ??= await fetchToken({ id: "console-shop" });
  await call({
    method: "POST", path: `/rooms/${encodeURIComponent(`stream:${STREAM}`)}/broadcasts`,
    body: { event: `live:product:${word}`, data }, token: shopKey,
  });
  said.set(product.productId, { word, at: new Date() });
  drawShop();
}

function drawShop() {
  byId("products").replaceChildren(...PRODUCTS.map(shopRow));
}

function shopRow(product) {
  const last = said.get(product.productId);
  const button = (word, name) => h("button", { type: "button", class: name, "data-word": word,
    onclick: () => act(publish(word, product)) }, t(`product.${word}`));
  const first = !last || last.word === "deleted";
  const buttons = first ? [button("added", "main small")]
    : last.word === "soldout" ? [button("updated", "plain"), button("deleted", "plain")]
    : [button("soldout", "main small"), button("deleted", "plain")];
  return h("li", { "data-product": product.productId },
    h("span", { class: "what" }, h("b", {}, product.name[lang()]), h("span", {}, priceText(product.price))),
    h("span", { class: "last" }, last ? `${t(`said.${last.word}`)} ${clockText(last.at)}` : ""),
    h("span", { class: "buttons" }, ...buttons));
}

// The operator: the same chat, with what only an administrator's token may do.

function drawKeeper() {
  drawStage();
  const messages = [...keeper.messages.values()];
  byId("keeper-empty").hidden = messages.length > 0;
  byId("keeper").replaceChildren(...messages.map(keeperRow).reverse());
  byId("banned").replaceChildren(...[...banned].map(bannedRow));
}

function keeperRow(message) {
  const erase = () => act(keeper.erase(message.messageId));
  return h("li", { class: message.deleted ? "deleted" : "", "data-message": message.messageId },
    h("b", {}, message.nickname), h("span", { class: "words" }, message.deleted ? t("erased") : message.content),
    h("span", { class: "buttons" },
      message.deleted ? null : h("button", { type: "button", class: "plain erase", onclick: erase }, t("erase")),
      banned.has(message.userId) ? null
        : h("button", { type: "button", class: "plain ban", onclick: () => act(ban(message, BAN_MINUTES)) },
          t("ban", { minutes: BAN_MINUTES }))));
}

async function ban({ userId, nickname }, minutes) {
  const until = await keeper.ban(userId, minutes);
  if (minutes) banned.set(userId, { nickname, until });
  else banned.delete(userId);
  drawKeeper();
}

const bannedRow = ([userId, { nickname, until }]) =>
  h("li", {}, h("span", {}, t("bannedUntil", { nickname, time: clockText(until) })),
    h("button", { type: "button", class: "plain", onclick: () => act(ban({ userId }, 0)) }, t("unban")));

// A viewer's phone. Parts are kept and refreshed, so that nobody's typing is lost.

class ViewerCard {
  constructor(viewer) {
    this.viewer = viewer;
    this.node = h("article", { class: "phone viewer", "data-viewer": viewer.id, "aria-label": viewer.label() });
    this.rows = new Map();
    this.#build();
    this.refresh();
  }

  #build() {
    const { viewer } = this;
    this.switch = h("button", { class: "switch", role: "switch", type: "button", "aria-label": viewer.label(),
      onclick: () => (viewer.wanted ? viewer.switchOff() : act(viewer.switchOn())) });
    this.state = h("p", { class: "state" });
    this.count = h("span", { class: "count" });
    this.banner = h("p", { class: "soldout", role: "status" });
    this.products = h("ul", { class: "strip" });
    this.log = h("ol", { class: "log", role: "log", tabindex: "0", "aria-label": t("chat") });
    this.field = h("input", { name: "words", maxlength: "1000", required: true, autocomplete: "off",
      "aria-label": t("say"), placeholder: t("say") });
    this.form = h("form", { class: "say", onsubmit: (event) => this.#say(event) }, this.field,
      h("button", { class: "main small", type: "submit" }, t("sendWords")));
    this.barred = h("div", { class: "barred", role: "status" }, h("span", {}, t("barred")),
      h("button", { class: "plain", type: "button", onclick: () => act(viewer.enterChat()) }, t("enterAgain")));
    this.node.append(
      h("header", {},
        h("span", { class: `face ${viewer.colour}`, "aria-hidden": "true" }, viewer.label().at(-1)),
        h("div", { class: "who" }, h("h3", {}, viewer.label()), this.state), this.switch),
      h("div", { class: "screen" }, h("span", { class: "on-air" }, "LIVE"), this.count,
        h("span", { class: "fruit", "aria-hidden": "true" }), this.banner),
      this.products, this.log, this.form, this.barred);
  }

  async #say(event) {
    event.preventDefault();
    const words = this.field.value.trim();
    if (!words) return;
    this.field.value = "";
    await act(this.viewer.say(words));
  }

  refresh() {
    const { viewer } = this;
    this.node.dataset.state = viewer.state;
    this.switch.setAttribute("aria-checked", String(viewer.wanted));
    this.state.textContent = t(`state.${viewer.state}`);
    this.count.textContent = viewer.viewers === null ? "" : t("watching", { count: viewer.viewers });
    const gone = viewer.soldOut ? t("soldOut", { name: viewer.soldOut.name }) : "";
    if (this.banner.textContent !== gone) this.banner.textContent = gone;
    this.products.replaceChildren(...[...viewer.products.values()].map(productChip));
    this.form.hidden = viewer.barred || !viewer.wanted;
    this.barred.hidden = !viewer.barred || !viewer.wanted;
    for (const message of viewer.messages.values()) this.#showMessage(message);
  }

  #showMessage(message) {
    const known = this.rows.get(message.messageId);
    if (!known) {
      const mine = message.userId === this.viewer.id ? "mine" : "";
      const row = h("li", { class: mine }, h("b", {}, message.nickname), " ", h("span", { class: "words" }, message.content));
      this.rows.set(message.messageId, row);
      this.log.append(row);
      this.log.scrollTop = this.log.scrollHeight;
    }
    if (!message.deleted || known?.classList.contains("deleted")) return;
    const row = this.rows.get(message.messageId);
    row.classList.add("deleted");
    row.lastChild.textContent = t("erased");
  }
}

const productChip = ({ name, price, soldOut }) =>
  h("li", { class: soldOut ? "gone" : "" }, h("b", {}, name), h("span", {}, soldOut ? t("gone") : priceText(price)));
