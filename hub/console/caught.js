// What the catcher of this machine caught instead of a phone or a mailbox.

import { h } from "./dom.js";
import { clockText, t } from "./texts.js";

const AGAIN_MS = 2000;
const SHOWN = 30;

export class Caught {
  /** `arrived(item)` for each push and mail, oldest first; `changed()` when the list did. */
  constructor(url, { arrived, changed }) {
    Object.assign(this, { url, arrived, changed, items: [], away: false, last: 0 });
  }

  /** Asks for what is newer, as long as the page lives. */
  async follow() {
    let waits = false; // the first answer is what there is, the next ones are waited for
    for (;;) {
      try {
        const query = waits ? `?after=${this.last}` : "";
        const items = await (await fetch(`${this.url}/caught${query}`)).json();
        this.#add(items);
        waits = true;
      } catch {
        this.away = true;
        this.changed();
        await new Promise((again) => setTimeout(again, AGAIN_MS));
      }
    }
  }

  #add(items) {
    const news = this.away || items.length > 0;
    this.away = false;
    const fresh = items.filter((item) => !this.items.some((old) => same(old, item)));
    this.items = [...fresh, ...this.items].slice(0, SHOWN);
    this.last = items[0]?.n ?? this.last;
    for (const item of fresh.toReversed()) this.arrived(item);
    if (news) this.changed();
  }
}

const same = (one, other) => one.n === other.n && one.at === other.at;

/** One push or mail as an element. `nameOf(item)`: whose phone or mailbox that is. */
export function caughtRow(item, nameOf) {
  const kind = item.channel === "mail" ? "mail" : item.silent ? "silent" : "push";
  const head = h("span", { class: "what" },
    h("span", { class: `chip ${item.channel}` }, t(kind)), " ", h("b", {}, nameOf(item)), " ",
    h("time", {}, clockText(item.at)));
  if (item.channel === "mail") return mailRow(item, head);
  const words = item.silent ? item.collapseId : item.body;
  return h("li", { "data-channel": "push" }, head, h("strong", {}, item.title), h("p", {}, words));
}

function mailRow(item, head) {
  const details = h("details", {}, h("summary", {}, item.subject));
  details.addEventListener("toggle", () => details.append(letter(item)), { once: true });
  return h("li", { "data-channel": "mail" }, head, details);
}

/** Somebody's HTML: in a frame that may do nothing. */
const letter = (item) =>
  item.html
    ? h("iframe", { sandbox: "", referrerpolicy: "no-referrer", title: item.subject, srcdoc: item.html })
    : h("pre", {}, item.text);
