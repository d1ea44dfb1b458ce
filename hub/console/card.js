// A person's phone on the page. Parts are kept and refreshed, so that nobody's typing is lost.

import { h, quietly } from "./dom.js";
import { QuestionView } from "./question.js";
import { clockText, t } from "./texts.js";
import { Why } from "./why.js";

export class Card {
  /** `act(promise)` shows what a verb of the person's was refused with. `page`: `waves`, of the
   * hub's settings; `newest()`, the last question asked; `addScreen(person)`. */
  constructor(person, act, page) {
    Object.assign(this, { person, act, page });
    this.questions = new Map();
    this.node = h("article", { class: "phone", "data-person": person.id,
      "data-screen": person.screen, "aria-label": person.label() });
    this.#build();
    this.refresh();
  }

  #build() {
    const { person, act } = this;
    this.switch = h("button", { class: "switch", role: "switch", type: "button", "aria-label": person.label(),
      onclick: () => (person.wanted ? person.switchOff() : act(person.switchOn())) });
    this.state = h("span", { class: "state" });
    this.session = h("span", { class: "chip" });
    this.latency = h("span", { class: "chip latency", title: t("latencyHint") });
    this.more = h("button", { class: "plain more-screens", type: "button", title: t("anotherScreenHint"),
      onclick: () => this.page.addScreen(person) }, t("anotherScreen"));
    this.drop = h("button", { class: "plain drop", type: "button", title: t("dropHint"),
      onclick: () => person.drop() }, t("drop"));
    this.unread = h("b", { class: "unread" });
    this.points = h("b", { class: "points" });
    this.score = h("span", {}, t("points"), " ", this.points);
    this.alerts = h("div", { class: "alerts", "aria-live": "polite" });
    this.takenBack = h("p", { class: "trace" });
    this.quiet = h("p", { class: "quiet" }, t("quiet"));
    this.inbox = h("ul", { class: "inbox" });
    this.events = h("ol", { class: "events" });
    this.node.append(
      h("header", {},
        h("span", { class: `face ${person.colour}`, "aria-hidden": "true" }, person.label()[0].toUpperCase()),
        h("div", { class: "who" }, h("h3", {}, person.label()), h("p", {}, person.role())),
        this.switch),
      h("div", { class: "line" }, this.state, this.session,
        h("span", { class: "buttons" }, this.more, this.drop)),
      h("div", { class: "counts" },
        h("span", {}, t("unread"), " ", this.unread), this.score, this.latency),
      this.takenBack, this.alerts, this.quiet, this.#whyPart(), this.#inboxPart(), this.#eventsPart());
  }

  #whyPart() {
    const why = new Why(this.person, this.act, this.page.newest);
    return why.node;
  }

  #inboxPart() {
    const { person, act } = this;
    const all = h("button", { class: "plain", type: "button",
      onclick: () => act(person.markRead()) }, t("readAll"));
    const opened = (event) => event.target.open && person.state === "on" && act(person.markSeen());
    this.inboxPart = h("details", { class: "drawer", ontoggle: opened },
      h("summary", {}, t("inbox")), this.inbox, all);
    return this.inboxPart;
  }

  #eventsPart() {
    return h("details", { class: "drawer" }, h("summary", {}, t("events")), this.events);
  }

  refresh() {
    const { person } = this;
    this.node.dataset.state = person.state;
    this.switch.setAttribute("aria-checked", String(person.wanted));
    quietly(this.state, t(`state.${person.state}`));
    quietly(this.session, person.recovered === null || person.state !== "on" ? ""
      : t(person.recovered ? "recovered" : "fresh"));
    this.session.classList.toggle("good", Boolean(person.recovered));
    quietly(this.latency, person.latency === null ? "" : t("latency", { ms: person.latency }));
    this.drop.hidden = person.state !== "on";
    this.more.hidden = Boolean(person.screen) || person.state !== "on";
    quietly(this.takenBack, person.takenBack ? t("takenBack", { time: clockText(person.takenBack) }) : "");
    quietly(this.unread, String(person.unread));
    quietly(this.points, String(person.points));
    this.score.hidden = person.points === null; // told with `points:awarded`
    this.#refreshAlerts();
    this.inbox.replaceChildren(...this.#inboxRows());
    this.events.replaceChildren(...person.events.map(eventRow));
  }

  tick() {
    for (const question of this.questions.values()) question.tick();
  }

  #refreshAlerts() {
    for (const [id, question] of this.person.questions) {
      if (!this.questions.has(id)) {
        const view = new QuestionView(this.person, id, this.act, this.page.waves);
        this.questions.set(id, view);
        this.alerts.prepend(view.node);
      }
      this.questions.get(id).refresh(question);
    }
    this.alerts.querySelectorAll(".pushed").forEach((old) => old.remove());
    const open = (push) => this.act(this.person.openPush(push));
    this.alerts.prepend(...this.person.pushes.slice(0, 2).map((push) => pushBanner(push, open)));
    this.quiet.hidden = this.alerts.childElementCount > 0;
  }

  #inboxRows() {
    const rows = [...this.person.inbox.values()].sort((a, b) => b.seq - a.seq).slice(0, 20);
    if (!rows.length) return [h("li", { class: "quiet" }, t("emptyInbox"))];
    return rows.map((row) => {
      const read = () => this.act(this.person.markRead([row.id]));
      const gone = row.readAt || this.person.state !== "on";
      return h("li", { class: row.readAt ? "read" : "new" },
        h("button", { type: "button", disabled: Boolean(gone), onclick: read },
          h("b", {}, row.title), h("span", {}, row.body), h("time", {}, clockText(row.createdAt))));
    });
  }
}

const pushBanner = (push, open) =>
  h("button", { class: "pushed", type: "button", title: t("openPush"), onclick: () => open(push) },
    h("small", {}, `${t("pushed")} · ${clockText(push.at)}`), h("b", {}, push.title), h("span", {}, push.body));

const eventRow = ({ at, event, data }) =>
  h("li", {}, h("details", {}, h("summary", {}, h("code", {}, event), " ", h("time", {}, clockText(at))),
    h("pre", {}, JSON.stringify(data, null, 1))));
