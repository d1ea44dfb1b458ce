// What the hub refused, told in words at the foot of the page.

import { byId, h } from "./dom.js";
import { t } from "./texts.js";

const SHOWN_MS = 6000;

let hide = 0;

/** Shows what was refused, if anything was. */
export async function act(promise) {
  try {
    await promise;
  } catch (error) {
    if (!error.code) throw error;
    complain(error);
  }
}

export function complain({ code, message, requestId }) {
  const words = t(`code.${code}`);
  const kind = words.startsWith("code.") ? code : words;
  byId("problem").replaceChildren(h("b", {}, kind), " ", message, " ", h("small", {}, `${code} ${requestId ?? ""}`));
  byId("problem").hidden = false;
  clearTimeout(hide);
  hide = setTimeout(() => { byId("problem").hidden = true; }, SHOWN_MS);
}
