// Why somebody was told of the last question, or was not: the hub's own decisions, in order.

import { h } from "./dom.js";
import { clockText, t } from "./texts.js";

export class Why {
  /** `newest()` is the question it is about. Asked anew each time it is opened. */
  constructor(person, act, newest) {
    Object.assign(this, { person, act, newest });
    this.answer = h("div", { class: "answer", "aria-live": "polite" });
    const opened = (event) => event.target.open && act(this.#ask());
    this.node = h("details", { class: "drawer why", ontoggle: opened }, h("summary", {}, t("why")), this.answer,
      h("button", { class: "plain", type: "button", onclick: () => act(this.#ask()) }, t("askAgain")));
  }

  async #ask() {
    const question = this.newest();
    if (!question) return this.answer.replaceChildren(h("p", { class: "quiet" }, t("noQuestion")));
    const found = await this.person.explain(question.id);
    this.answer.replaceChildren(
      h("p", { class: "quiet" }, question.title),
      h("p", { class: "verdict", "data-verdict": found.verdict, "data-reason": found.reason },
        h("b", {}, t(wasShown(found) ? "shownOnly" : `verdict.${found.verdict}`)), " ",
        t(`reason.${found.reason}`)),
      h("ol", { class: "decisions" }, ...steps(found)));
  }
}

/** A screen has told them, so that nothing else was sent. */
const wasShown = ({ verdict, acknowledgedAt }) => verdict === "suppressed" && Boolean(acknowledgedAt);

/** Decisions, what came of each try, and the acknowledgement, as they happened. */
function steps({ decisions, tries, acknowledgedAt }) {
  const rows = [
    ...decisions.map((one) => ({ at: one.at, channel: one.channel, wave: one.detail.wave, words: decided(one) })),
    ...tries.filter((one) => one.status !== "suppressed") // a decision has said so
      .map((one) => ({ at: one.updatedAt, channel: one.channel, words: tried(one) })),
    ...tries.filter((one) => one.takenBackAt)
      .map((one) => ({ at: one.takenBackAt, channel: one.channel, words: t("try.takenBack") })),
  ];
  if (acknowledgedAt) rows.push({ at: acknowledgedAt, channel: "socket", words: t("try.acknowledged") });
  return rows.sort((a, b) => Date.parse(a.at) - Date.parse(b.at)).map(({ at, channel, wave, words }) =>
    h("li", {}, h("time", {}, clockText(at)), h("b", {}, t(`channel.${channel ?? "wave"}`, { wave })), h("span", {}, words)));
}

const decided = ({ verdict, reason }) => `${t(`verdict.${verdict}`)} · ${t(`reason.${reason}`)}`;

const tried = ({ status, attempts }) =>
  attempts > 1 ? t("try.again", { status: t(`status.${status}`), attempts }) : t(`status.${status}`);
