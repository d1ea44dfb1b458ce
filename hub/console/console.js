// The page: its two tabs and its two languages.

import { byId } from "./dom.js";
import * as live from "./live.js";
import { lang, speak, t } from "./texts.js";
import * as urgent from "./urgent.js";

const tabs = [...document.querySelectorAll("[role=tab]")];

const panelOf = (tab) => byId(tab.getAttribute("aria-controls"));

function open(tab) {
  for (const one of tabs) {
    one.setAttribute("aria-selected", String(one === tab));
    one.tabIndex = one === tab ? 0 : -1;
    panelOf(one).hidden = one !== tab;
  }
  if (panelOf(tab).id === "live") live.open();
}

/** The address names the tab, so that a reload and a link find it again. */
function choose(tab) {
  history.replaceState(null, "", tab === tabs[0] ? location.pathname : `#${panelOf(tab).id}`);
  open(tab);
}

/** Arrows go round the tabs, as their pattern has it (WAI-ARIA). */
function walk(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const next = tabs.at((tabs.indexOf(event.target) + step) % tabs.length);
  next.focus();
  choose(next);
}

function draw() {
  document.documentElement.lang = lang();
  document.title = t("title");
  for (const node of document.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const button of document.querySelectorAll("[data-language]"))
    button.setAttribute("aria-pressed", String(button.dataset.language === lang()));
}

for (const button of document.querySelectorAll("[data-language]"))
  button.addEventListener("click", () => { speak(button.dataset.language); draw(); urgent.draw(); live.draw(); });
for (const tab of tabs) {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", walk);
}
draw();
open(tabs.find((tab) => `#${panelOf(tab).id}` === location.hash) ?? tabs[0]);
