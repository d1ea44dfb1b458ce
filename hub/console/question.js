// One urgent question on a person's phone: asked by them, told to them, or taken back again.

import { h, quietly } from "./dom.js";
import { distance } from "./jeju.js";
import { clockText, distanceText, leftText, radiusText, t, untilText } from "./texts.js";

/** A clock in a live region would be read aloud every second. */
const SILENT = { "aria-live": "off" };

const isAhead = (moment) => Boolean(moment) && Date.parse(moment) > Date.now();

export class QuestionView {
  /** `waves`: what the hub's settings plan, `[{afterS, radiusM}]`. */
  constructor(person, id, act, waves) {
    Object.assign(this, { person, id, act, waves });
    this.top = h("p", { class: "top", ...SILENT });
    this.title = h("h4");
    this.content = h("p", { class: "content" });
    this.steps = h("ol", { class: "steps", "aria-label": t("waves"), ...SILENT });
    this.note = h("p", { class: "note" });
    this.answers = h("ul", { class: "answers" });
    this.form = this.#answerForm();
    this.trace = this.#traceLine();
    this.body = h("div", { class: "body" },
      this.top, this.title, this.content, this.answers, this.steps, this.note, this.form);
    this.node = h("section", { class: "question", "data-question": id }, this.body, this.trace);
  }

  #answerForm() {
    const field = h("textarea", { name: "answer", rows: "2", maxlength: "5000", required: true,
      "aria-label": t("answerHere"), placeholder: t("answerHere") });
    field.value = t("exampleAnswer");
    const send = async (event) => {
      event.preventDefault();
      await this.act(this.person.answer(this.id, field.value.trim()));
    };
    this.claim = h("button", { class: "claim", type: "button",
      onclick: () => this.act(this.person.claim(this.id, !this.#isClaimed())) });
    const read = h("button", { class: "plain read-it", type: "button", onclick: () => this.#read() }, t("readIt"));
    return h("form", { class: "reply", onsubmit: send },
      h("div", { class: "buttons", ...SILENT }, this.claim, read), field,
      h("button", { class: "main", type: "submit" }, t("answer")));
  }

  async #read() {
    await this.act(this.person.readAlert(this.id));
    this.back.focus(); // what had it is hidden now
  }

  /** What is left of an alert that went: why and when, and a way back while it is still open. */
  #traceLine() {
    this.went = h("span");
    this.back = h("button", { class: "plain", type: "button", onclick: () => {
      this.question.state = "wave";
      this.refresh(this.question);
    } }, t("showAgain"));
    return h("p", { class: "trace" }, this.went, this.back);
  }

  refresh(question) {
    this.question = question;
    const { person } = this;
    const gone = !question.mine && question.state !== "wave" && !this.#hasAnswered();
    this.node.dataset.state = question.state;
    this.node.classList.toggle("mine", Boolean(question.mine));
    this.node.classList.toggle("gone", gone);
    this.body.hidden = gone;
    this.trace.hidden = !gone;
    quietly(this.went, `${t(`gone.${question.state}`)} · ${clockText(question.endedAt ?? question.createdAt)}`);
    this.back.hidden = !["read", "elsewhere"].includes(question.state);
    quietly(this.title, question.title);
    quietly(this.content, question.content ?? "");
    this.answers.replaceChildren(...[...question.answers.values()].map((one) => this.#answerRow(one)));
    this.form.hidden = question.mine || question.state !== "wave" || !person.wanted || this.#hasAnswered();
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
    const claimed = this.#isClaimed();
    quietly(this.claim, claimed ? t("release", { time: untilText(question.claimedUntil) }) : t("claim"));
    this.claim.setAttribute("aria-pressed", String(claimed));
    this.steps.hidden = !question.mine;
    if (question.mine) this.#drawSteps();
  }

  /** How far the question has gone, and what is to come unless an answer does. */
  #drawSteps() {
    const { question } = this;
    const wave = question.wave ?? 1;
    const words = this.waves.map(({ radiusM }, i) => {
      const waits = question.state === "wave" && i === wave && isAhead(question.nextAt);
      return radiusText(radiusM) + (waits ? ` · ${untilText(question.nextAt)}` : "");
    });
    const drawn = [wave, ...words].join();
    if (this.drawn === drawn) return;
    this.drawn = drawn;
    this.steps.replaceChildren(...words.map((word, i) =>
      h("li", { class: i < wave - 1 ? "past" : i === wave - 1 ? "now" : "" }, word)));
  }

  #isClaimed() {
    return isAhead(this.question?.claimedUntil);
  }

  #hasAnswered() {
    return [...this.question.answers.values()].some((one) => one.author.userId === this.person.id);
  }

  #note() {
    const { question } = this;
    if (question.gained) return t("gained", { points: question.gained });
    const claims = isAhead(question.claimsUntil) ? question.claims : 0;
    const claiming = claims ? t("claims", { count: claims }) : "";
    if (question.state !== "wave") return question.mine ? t(`asked.${question.state}`) : "";
    if (!question.mine) return this.#isClaimed() ? "" : claiming;
    const told = question.told === undefined ? t("waiting")
      : t("told", { told: question.told, acknowledged: question.acknowledged });
    return [told, claiming].filter(Boolean).join(" · ");
  }

  #answerRow(answer) {
    const { question, person } = this;
    const mine = answer.author.userId === person.id;
    const open = question.mine && ![...question.answers.values()].some((one) => one.isAccepted);
    const accept = () => this.act(this.person.accept(this.id, answer.id));
    return h("li", { class: answer.isAccepted ? "accepted" : "" },
      h("b", {}, mine ? t("myAnswer") : answer.author.nickname), h("p", {}, answer.content),
      answer.isAccepted ? h("span", { class: "chip good" }, t("accepted")) : null,
      open ? h("button", { class: "main", type: "button", onclick: accept }, t("accept")) : null);
  }
}
