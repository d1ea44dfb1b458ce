// A person's phone on the page. Parts are kept and refreshed, so that nobody's typing is lost.

import { h } from "./dom.js";
import { distance } from "./jeju.js";
import { clockText, distanceText, leftText, t } from "./texts.js";

const quietly = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};

export class Card {
  /** `act(promise)` shows what a verb of the person's was refused with. */
  constructor(person, act) {
    this.person = person;
    this.act = act;
    this.questions = new Map();
    this.node = h("article", { class: "phone", "data-person": person.id, "aria-label": person.label() });
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
    this.drop = h("button", { class: "plain", type: "button", title: t("dropHint"),
      onclick: () => person.drop() }, t("drop"));
    this.unread = h("b", { class: "unread" });
    this.points = h("b", { class: "points" });
    this.score = h("span", {}, t("points"), " ", this.points);
    this.alerts = h("div", { class: "alerts", "aria-live": "polite" });
    this.quiet = h("p", { class: "quiet" }, t("quiet"));
    this.inbox = h("ul", { class: "inbox" });
    this.events = h("ol", { class: "events" });
    this.node.append(
      h("header", {},
        h("span", { class: `face ${person.colour}`, "aria-hidden": "true" }, person.label()[0].toUpperCase()),
        h("div", { class: "who" }, h("h3", {}, person.label()), h("p", {}, person.role())),
        this.switch),
      h("div", { class: "line" }, this.state, this.session, this.drop),
      h("div", { class: "counts" },
        h("span", {}, t("unread"), " ", this.unread), this.score, this.latency),
      this.alerts, this.quiet, this.#inboxPart(), this.#eventsPart());
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
        const view = new QuestionView(this.person, id, this.act);
        this.questions.set(id, view);
        this.alerts.prepend(view.node);
      }
      this.questions.get(id).refresh(question);
    }
    this.alerts.querySelectorAll(".pushed").forEach((old) => old.remove());
    this.alerts.prepend(...this.person.pushes.slice(0, 2).map(pushBanner));
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

const pushBanner = (push) =>
  h("div", { class: "pushed" }, h("small", {}, `${t("pushed")} · ${clockText(push.at)}`),
    h("b", {}, push.title), h("span", {}, push.body));

const eventRow = ({ at, event, data }) =>
  h("li", {}, h("details", {}, h("summary", {}, h("code", {}, event), " ", h("time", {}, clockText(at))),
    h("pre", {}, JSON.stringify(data, null, 1))));

class QuestionView {
  constructor(person, id, act) {
    this.person = person;
    this.id = id;
    this.act = act;
    this.top = h("p", { class: "top" });
    this.title = h("h4");
    this.content = h("p", { class: "content" });
    this.note = h("p", { class: "note" });
    this.answers = h("ul", { class: "answers" });
    this.form = this.#answerForm();
    this.node = h("section", { class: "question", "data-question": id },
      this.top, this.title, this.content, this.answers, this.note, this.form);
  }

  #answerForm() {
    const field = h("textarea", { name: "answer", rows: "2", maxlength: "5000", required: true,
      "aria-label": t("answerHere"), placeholder: t("answerHere") });
    field.value = t("exampleAnswer");
    const send = async (event) => {
      event.preventDefault();
      await this.act(this.person.answer(this.id, field.value.trim()));
    };
    return h("form", { class: "reply", onsubmit: send }, field,
      h("button", { class: "main", type: "submit" }, t("answer")));
  }

  refresh(question) {
    this.question = question;
    const { person } = this;
    this.node.dataset.state = question.state;
    this.node.classList.toggle("mine", Boolean(question.mine));
    quietly(this.title, question.title);
    quietly(this.content, question.content ?? "");
    this.answers.replaceChildren(...[...question.answers.values()].map((one) => this.#answerRow(one)));
    this.form.hidden = question.mine || question.state !== "wave" || !person.wanted;
    this.tick();
  }

  tick() {
    const { question, person } = this;
    const far = !question.mine && question.location ? distance(person, question.location) : null;
    const parts = [t(question.mine ? "mine" : "urgent")];
    if (far !== null) parts.push(t("away", { distance: distanceText(far) }));
    if (question.state === "wave" && question.deadlineAt) parts.push(leftText(question.deadlineAt));
    quietly(this.top, parts.join(" · "));
    quietly(this.note, this.#note());
  }

  #note() {
    const { question } = this;
    if (question.gained) return t("gained", { points: question.gained });
    if (question.mine && question.state === "wave") return t("waiting");
    return question.mine || question.state === "wave" ? "" : t(`questionState.${question.state}`);
  }

  #answerRow(answer) {
    const { question, person } = this;
    const mine = answer.author.userId === person.id;
    const open = question.mine && ![...question.answers.values()].some((one) => one.isAccepted);
    const accept = () => this.act(person.accept(this.id, answer.id));
    return h("li", { class: answer.isAccepted ? "accepted" : "" },
      h("b", {}, mine ? t("myAnswer") : answer.author.nickname), h("p", {}, answer.content),
      answer.isAccepted ? h("span", { class: "chip good" }, t("accepted")) : null,
      open ? h("button", { class: "main", type: "button", onclick: accept }, t("accept")) : null);
  }
}
