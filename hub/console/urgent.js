// The first tab: who is on, the map, asking, and what was caught.

import { Card } from "./card.js";
import { Caught, caughtRow } from "./caught.js";
import { byId, h, quietly } from "./dom.js";
import * as hub from "./hub.js";
import { around, nearest } from "./jeju.js";
import { IslandMap } from "./map.js";
import { ENDED, Person } from "./person.js";
import { act, complain } from "./refusals.js";
import { lang, placeName, radiusText, t, untilText } from "./texts.js";

const LOCALS = ["yeon", "nohyeong", "ora", "ido2", "aewol", "pyoseon", "jungmun", "jungang"];
const FIRST = ["traveller", "local-yeon", "local-nohyeong", "local-ido2"];
const COLOURS = 8;

const SHOWN_WAVES = 3;

const [places, { catcherUrl, waves, claims }] = await Promise.all([hub.neighbourhoods(), hub.config()]);
const placeOf = new Map(places.map((one) => [one.code, one]));
const people = [];
const chips = new Map();
const cards = new Map(); // of each person's screens, in the order of the page
const followed = new Map(); // question → the wave that the map has turned to
let caught = null;
let place = placeOf.get("yeon");
let chosenAsker = null;

// People are roles, nobody in particular.

function traveller(id, number) {
  const at = { lat: 33.487, lng: 126.489 };
  const word = (text) => (number ? `${text} ${number}` : text);
  const label = () => word(t("traveller"));
  return { id, ...at, nickname: word("여행자"), label, short: label, role: () => t("traveller") };
}

function local(code) {
  const home = placeOf.get(code);
  const { lat, lng } = home;
  const label = () => (lang() === "ko" ? `${home.name} 주민` : `${placeName(home)} local`);
  const short = () => placeName(home);
  const role = () => t("local");
  return { id: `local-${code}`, home: code, lat, lng, nickname: `${home.name} 주민`, label, short, role };
}

function add(persona) {
  const colour = `c${people.length % COLOURS}`;
  const person = new Person({ ...persona, colour }, refresh);
  recall(person);
  people.push(person);
  return person;
}

/** Enough people to see a first question travel, so that nobody has to guess whom to pick. */
function start() {
  for (const one of people) if (FIRST.includes(one.id)) pick(one);
  byId("ask").querySelector("button.main").focus();
}

/** What its phone was handed before this page knew it. */
function recall(person) {
  for (const item of (caught?.items ?? []).toReversed()) if (item.token === person.phone) person.take(item);
}

/** A second device of the same person: what is read on one leaves the other. */
function addScreen(first) {
  if (screens().some((one) => one.id === first.id && one.screen)) return;
  const { id, home, lat, lng, nickname, colour, role, short } = first;
  const label = () => t("tablet", { name: first.label() });
  const person = new Person({ id, screen: 2, home, lat, lng, nickname, colour, role, short, label }, refresh);
  recall(person);
  const card = new Card(person, act, page);
  cards.set(person, card);
  cards.get(first).node.after(card.node);
  act(person.switchOn());
}

const screens = () => [...new Set([...people, ...cards.keys()])];

/** The question that was asked last, of all that anybody here knows. */
function newest() {
  const known = screens().flatMap((one) => [...one.questions.values()]);
  return known.reduce((last, one) => (!last || one.createdAt > last.createdAt ? one : last), null);
}

const page = { waves, newest, addScreen };

function addTraveller() {
  const number = people.filter((one) => !one.home).length + 1;
  const person = add(traveller(`traveller-${crypto.randomUUID().slice(0, 8)}`, number));
  pick(person);
}

function pick(person) {
  if (!cards.has(person)) {
    cards.set(person, new Card(person, act, page));
    byId("phones").append(cards.get(person).node);
  }
  act(person.wanted ? person.switchOff() : person.switchOn());
}

// What is shown.

function refresh(person) {
  if (person.problem) complain(person.problem);
  person.problem = null;
  cards.get(person)?.refresh();
  drawPeople();
  drawMap();
}

function drawPeople() {
  for (const person of people) {
    if (!chips.has(person)) chips.set(person, chip(person));
    const button = chips.get(person);
    button.setAttribute("aria-pressed", String(person.wanted));
    button.dataset.state = person.state;
  }
  byId("people").lastElementChild?.before(...[...chips.values()].filter((one) => !one.isConnected));
  byId("no-phones").hidden = cards.size > 0;
  drawAskers();
}

const chip = (person) =>
  h("button", { type: "button", class: "person", "data-person": person.id, onclick: () => pick(person) },
    h("span", { class: `spot ${person.colour}` }), person.label());

function drawAskers() {
  const select = byId("ask").elements.asker;
  const on = people.filter((one) => one.state === "on");
  const names = on.map((one) => `${one.id} ${one.label()}`).join();
  if (select.dataset.names === names) return;
  select.replaceChildren(...on.map((one) => h("option", { value: one.id }, one.label())));
  select.dataset.names = names;
  const asker = on.find((one) => one.id === chosenAsker) ?? on.find((one) => !one.home);
  if (asker) select.value = asker.id;
}

/** Each urgent question once, as whoever knows most of it does. */
function asked() {
  const questions = new Map();
  for (const person of screens()) {
    for (const one of person.questions.values()) {
      if (!one.location || one.urgency === "normal") continue;
      const before = questions.get(one.id);
      const wave = Math.max(one.wave ?? 1, before?.wave ?? 1);
      const best = before && !one.mine ? before : one;
      questions.set(one.id, { ...best, wave, claimers: before?.claimers ?? [] });
      if (Date.parse(one.claimedUntil) > Date.now()) questions.get(one.id).claimers.push(person);
    }
  }
  return [...questions.values()].slice(-SHOWN_WAVES);
}

function drawMap() {
  const questions = asked().map((one) => ({
    ...one, isOpen: !ENDED.includes(one.state),
    rings: waves.slice(0, one.wave).map(({ radiusM }) => ({ radiusM, label: radiusText(radiusM) })),
  }));
  follow(questions.at(-1));
  map.draw({ people: [...cards.keys()].filter((one) => !one.screen), place, questions });
  drawSpread();
}

/** The map turns to a wave once; whoever turns it elsewhere is left alone until the next. */
function follow(question) {
  if (!question?.isOpen || followed.get(question.id) === question.wave) return;
  followed.set(question.id, question.wave);
  const radiusM = waves[question.wave - 1]?.radiusM;
  look(radiusM === null || question.location.lat > 33.8 ? "island" : around(question.location));
}

/** How far it has gone, in words: what the rings show, for whoever does not see them. */
function drawSpread() {
  const last = asked().at(-1);
  const words = [];
  if (last && !ENDED.includes(last.state)) {
    words.push(t("spread", { wave: last.wave, radius: radiusText(waves[last.wave - 1]?.radiusM ?? null) }));
    const taken = last.claims >= claims && last.claimers.length >= claims;
    if (taken) words.push(t("allClaimed"));
    else if (Date.parse(last.nextAt) > Date.now())
      words.push(t("nextWave", { radius: radiusText(waves[last.wave]?.radiusM ?? null), time: untilText(last.nextAt) }));
  }
  quietly(byId("spread"), words.join(" · ") || t("mapHint"));
}

function drawPlaces() {
  const select = byId("ask").elements.place;
  const options = [...places]
    .sort((a, b) => placeName(a).localeCompare(placeName(b), lang()))
    .map((one) => h("option", { value: one.code }, t("placeNear", { name: placeName(one) })));
  if (!place.code) {
    const name = placeName(nearest(place, places));
    options.unshift(h("option", { value: "" }, t("placeExact", { name })));
  }
  select.replaceChildren(...options);
  select.value = place.code ?? "";
}

function drawCaught() {
  const owner = (item) => screens().find((one) => one.phone === item.token || item.to?.includes(`${one.id}@localhost`));
  const nameOf = (item) => owner(item)?.label() ?? item.to?.join(", ") ?? item.token;
  const hint = !caught ? "noCatcher" : caught.away ? "catcherAway" : caught.items.length ? "caughtHint" : "noneCaught";
  byId("caught-hint").textContent = t(hint);
  byId("caught").replaceChildren(...(caught?.items ?? []).map((item) => caughtRow(item, nameOf)));
}

function delivered(item) {
  const person = screens().find((one) => one.phone === item.token);
  if (!person) return;
  person.take(item);
  refresh(person);
}

/** All of it anew: at first, and after a change of language. */
export function draw() {
  chips.clear();
  byId("people").replaceChildren(
    h("button", { type: "button", class: "person more", onclick: addTraveller }, t("anotherTraveller")));
  drawPlaces();
  drawCaught();
  drawPeople();
  for (const person of cards.keys()) cards.set(person, new Card(person, act, page));
  byId("phones").replaceChildren(...[...cards.values()].map((card) => card.node));
  drawMap();
  example();
}

function example() {
  const { title, content } = byId("ask").elements;
  title.value = t("exampleTitle");
  content.value = t("exampleContent");
}

function choose(spot) {
  place = spot;
  drawPlaces();
  drawMap();
}

function look(view) {
  map.show(view);
  for (const button of document.querySelectorAll("[data-view]"))
    button.setAttribute("aria-pressed", String(button.dataset.view === view));
}

async function ask(event) {
  event.preventDefault();
  const { asker, title, content } = event.target.elements;
  const person = people.find((one) => one.id === asker.value);
  if (!person) return complain({ code: t("needAsker"), message: "" });
  const form = { title: title.value.trim(), content: content.value.trim(), lat: place.lat, lng: place.lng };
  await act(person.ask(form));
}

add(traveller("traveller", 0));
LOCALS.filter((code) => placeOf.has(code)).forEach((code) => add(local(code)));
const map = new IslandMap(byId("map"), places, choose);
byId("start").addEventListener("click", start);
byId("ask").addEventListener("submit", ask);
byId("ask").elements.asker.addEventListener("change", (event) => { chosenAsker = event.target.value; });
byId("ask").elements.place.addEventListener("change", (event) => choose(placeOf.get(event.target.value)));
for (const button of document.querySelectorAll("[data-view]"))
  button.addEventListener("click", () => look(button.dataset.view));
setInterval(() => { cards.forEach((card) => card.tick()); drawSpread(); }, 1000);
look("island");
draw();

if (catcherUrl) {
  caught = new Caught(catcherUrl, { arrived: delivered, changed: drawCaught });
  caught.follow();
}
drawCaught();
