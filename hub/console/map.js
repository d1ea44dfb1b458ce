// The map: neighbourhoods, who is where, the place to ask from, and how far an alert went.

import { s } from "./dom.js";
import * as jeju from "./jeju.js";
import { lang, placeName } from "./texts.js";

const NAMED = ["chuja", "udo", "hallim", "aewol", "jocheon", "gujwa", "seongsan", "pyoseon",
  "namwon", "andeok", "daejeong", "hangyeong", "jungmun"];

/** How far the last wave's circle is drawn: all of the island from anywhere on it. */
const REGION_M = 75_000;

const above = ({ x, y }, height) => ({ x, y: y - height });

export class IslandMap {
  /** `picked({lat, lng})` when the map was clicked. */
  constructor(svg, neighbourhoods, picked) {
    this.svg = svg;
    this.neighbourhoods = neighbourhoods;
    this.view = "island";
    this.layers = ["below", "rings", "above"].map((name) => s("g", { class: name }));
    svg.replaceChildren(...this.layers);
    this.rings = new Map(); // kept, so that they widen and fade instead of starting anew
    svg.addEventListener("click", (event) => picked(this.#spotOf(event)));
    new ResizeObserver(() => this.draw()).observe(svg);
  }

  /** `view`: the name of one, or a box of its own. */
  show(view) {
    this.view = view;
    this.draw();
  }

  /** `people`: Persons; `place`: where a question would be; `questions`: those asked last, each with
   * `isOpen`, `rings` ({radiusM, label}, the widest last) and `claimers` (Persons). */
  draw({ people = this.people ?? [], place = this.place, questions = this.questions ?? [] } = {}) {
    Object.assign(this, { people, place, questions });
    const box = jeju.frame(jeju.VIEWS[this.view] ?? this.view);
    this.px = box.width / (this.svg.clientWidth || 600); // one pixel in units of the picture
    this.svg.setAttribute("viewBox", `${box.x} ${box.y} ${box.width} ${box.height}`);
    this.taken = []; // where texts stand already
    const crowd = this.#crowd();
    const labels = this.#labels();
    const [below, , above] = this.layers;
    below.replaceChildren(this.#land());
    this.#drawRings();
    above.replaceChildren(
      ...this.neighbourhoods.map((one) => this.#dot(one)),
      ...questions.flatMap((one) => this.#claims(one)),
      ...labels,
      ...crowd,
      ...(place ? [this.#pin(place)] : []),
      ...questions.filter((one) => one.isOpen).map((one) => this.#reach(one)),
    );
  }

  #spotOf(event) {
    const point = new DOMPoint(event.clientX, event.clientY);
    const { lat, lng } = jeju.unproject(
      point.matrixTransform(this.svg.getScreenCTM().inverse()),
    );
    return { lat: Number(lat.toFixed(3)), lng: Number(lng.toFixed(3)) };
  }

  #land() {
    const coast = jeju.COAST.map(([lng, lat]) => jeju.project({ lng, lat }));
    const [lng, lat] = jeju.SUMMIT;
    const summit = jeju.project({ lng, lat });
    const slopes = [[250, 92], [165, 60], [90, 34]].map(([rx, ry]) =>
      s("ellipse", { class: "slope", cx: summit.x, cy: summit.y, rx, ry,
        transform: `rotate(-9 ${summit.x} ${summit.y})` }),
    );
    const islets = jeju.ISLETS.map(([east, north, size]) => {
      const { x, y } = jeju.project({ lng: east, lat: north });
      return s("circle", { class: "land", cx: x, cy: y, r: size * 1200 });
    });
    const chuja = jeju.project(jeju.CHUJA);
    return s("g", {},
      s("path", { class: "land", d: jeju.curve(coast) }), ...slopes, ...islets,
      s("rect", { class: "inset", x: chuja.x - 46, y: chuja.y - 26, width: 92, height: 52, rx: 8 }),
      s("circle", { class: "land", cx: chuja.x, cy: chuja.y, r: 12 }),
      this.#text(summit, "▲", "summit", 0),
    );
  }

  #dot(one) {
    const { x, y } = jeju.project(one);
    return s("circle", { class: "dong", cx: x, cy: y, r: 3.2 * this.px, "data-code": one.code },
      s("title", {}, placeName(one)));
  }

  /** As many names as there is room for, the big ones first. */
  #labels() {
    const homes = new Set(this.people.map((one) => one.home));
    const rank = (one) => (NAMED.includes(one.code) ? 0 : 1);
    const rows = this.neighbourhoods.filter(
      (one) => !homes.has(one.code) && (this.view !== "island" || NAMED.includes(one.code)),
    );
    return rows
      .sort((a, b) => rank(a) - rank(b))
      .map((one) => ({ name: placeName(one), at: jeju.project(one) }))
      .filter(({ name, at }) => this.#isFree({ x: at.x, y: at.y + 9 * this.px }, name.length))
      .map(({ name, at }) => this.#text(at, name, "name", 13));
  }

  /** Takes the room of a text around a point, unless another one has it. */
  #isFree({ x, y }, letters) {
    const half = (lang() === "ko" ? 6 : 3.4) * letters * this.px;
    const hit = (other) =>
      Math.abs(x - other.x) < half + other.half && Math.abs(y - other.y) < 14 * this.px;
    if (this.taken.some(hit)) return false;
    this.taken.push({ x, y, half });
    return true;
  }

  #text({ x, y }, text, name, below) {
    const size = (name === "name" ? 10.5 : 12) * this.px;
    return s("text", { class: name, x, y: y + below * this.px, "font-size": size }, text);
  }

  /** Names of people close together stand around and above all of them, each with a line. */
  #crowd() {
    const u = this.px;
    const spots = this.people.map((one) => jeju.project(one));
    const marks = this.place ? [...spots, above(jeju.project(this.place), 16 * u)] : spots;
    this.taken.push(...marks.map((mark) => ({ ...mark, half: 8 * u })));
    return this.people.map((one, i) => {
      let tag = null;
      for (let height = 15; !tag; height += 5) {
        const tries = [0, -46, 46].map((aside) => above({ x: spots[i].x + aside * u, y: spots[i].y }, height * u));
        tag = tries.find((spot) => this.#isFree(spot, one.short().length));
      }
      return this.#person(one, spots[i], tag);
    });
  }

  #person(one, { x, y }, tag) {
    const u = this.px;
    const name = one.state === "on" ? "who on" : "who";
    return s("g", { class: name, "data-person": one.id, "data-state": one.state },
      s("line", { x1: x, x2: tag.x, y1: y, y2: tag.y + 2 * u, "stroke-width": u }),
      s("circle", { class: `body ${one.colour}`, cx: x, cy: y, r: 6.5 * u, "stroke-width": 2 * u }),
      s("text", { class: "tag", x: tag.x, y: tag.y + 4 * u, "font-size": 12 * u, "stroke-width": 3 * u },
        one.short()));
  }

  #pin(place) {
    const { x, y } = jeju.project(place);
    const u = this.px;
    const d = `M${x} ${y}c${-3 * u} ${-7 * u} ${-8 * u} ${-10 * u} ${-8 * u} ${-16 * u}`
      + `a${8 * u} ${8 * u} 0 1 1 ${16 * u} 0c0 ${6 * u} ${-5 * u} ${9 * u} ${-8 * u} ${16 * u}z`;
    return s("g", { class: "pin" }, s("path", { d }),
      s("circle", { cx: x, cy: y - 16 * u, r: 3 * u }));
  }

  /** One ring a wave: a new one starts from the one before and widens. */
  #drawRings() {
    const seen = new Set();
    for (const { id, location, rings, isOpen } of this.questions) {
      const { x, y } = jeju.project(location);
      rings.forEach(({ radiusM }, i) => {
        const key = `${id} ${i}`;
        seen.add(key);
        const last = i === rings.length - 1;
        const ring = this.rings.get(key) ?? this.#newRing(key, { x, y }, rings[i - 1]);
        ring.setAttribute("class", ["wave", isOpen ? "open" : "", last ? "widest" : ""].join(" ").trim());
        ring.setAttribute("stroke-width", (last ? 2 : 1) * this.px);
        ring.style.r = `${jeju.units(radiusM ?? REGION_M)}px`; // in units of the picture
      });
    }
    for (const [key, ring] of this.rings) {
      if (seen.has(key)) continue;
      ring.remove();
      this.rings.delete(key);
    }
  }

  #newRing(key, { x, y }, before) {
    const wave = key.split(" ").at(-1);
    const ring = s("circle", { cx: x, cy: y, "data-wave": Number(wave) + 1 });
    ring.style.r = `${before ? jeju.units(before.radiusM ?? REGION_M) : 0}px`;
    this.layers[1].append(ring);
    this.rings.set(key, ring);
    ring.getBoundingClientRect(); // laid out once, so that the change to come is a movement
    return ring;
  }

  /** How far the last wave went, written on its ring; the region's is off the picture. */
  #reach({ location, rings }) {
    const { radiusM, label } = rings.at(-1);
    const { x, y } = jeju.project(location);
    if (radiusM === null) return s("g");
    return this.#text({ x, y: y + jeju.units(radiusM) }, label, "reach", 4);
  }

  /** Who is answering: a line from where they are to the question. */
  #claims({ location, claimers, isOpen }) {
    if (!isOpen) return [];
    const to = jeju.project(location);
    return claimers.map((one) => {
      const { x, y } = jeju.project(one);
      return s("line", { class: `claimer ${one.colour}`, "data-claimer": one.id, x1: x, y1: y, x2: to.x, y2: to.y,
        "stroke-width": 2 * this.px, "stroke-dasharray": `${5 * this.px} ${4 * this.px}` });
    });
  }
}
