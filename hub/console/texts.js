// Words, numbers and times in the language that was chosen. `t(name, {field})` fills {field} in.

import { TEXTS } from "./words.js";

let language = localStorage.getItem("language") === "en" ? "en" : "ko";

export const lang = () => language;

export function speak(wanted) {
  language = wanted;
  localStorage.setItem("language", wanted);
}

export function t(name, fields = {}) {
  const text = TEXTS[language][name] ?? name;
  return text.replace(/\{(\w+)\}/g, (_, field) => fields[field] ?? "");
}

const SUFFIXES = { 읍: "-eup", 면: "-myeon", 동: "-dong" };

/** 연동, or Yeon-dong: the hub has Korean names and romanised codes. */
export function placeName({ code, name }) {
  if (language === "ko") return name;
  const word = code[0].toUpperCase() + code.slice(1).replace(/(\d)$/, " $1");
  return word + (SUFFIXES[name.at(-1)] ?? "");
}

export const distanceText = (metres) =>
  metres < 950 ? `${Math.max(50, Math.round(metres / 50) * 50)} m` : `${Number((metres / 1000).toFixed(1))} km`;

export const priceText = (won) => (language === "ko" ? `${won.toLocaleString("ko")}원` : `₩${won.toLocaleString("en")}`);

export const clockText = (moment) =>
  new Date(moment).toLocaleTimeString(language, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

/** 3:07, until a moment that may have passed. */
export function untilText(moment) {
  const seconds = Math.max(0, Math.floor((Date.parse(moment) - Date.now()) / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

export const leftText = (deadline) =>
  Date.parse(deadline) > Date.now() ? t("left", { time: untilText(deadline) }) : t("over");

/** How far a wave goes; without a radius it is the region's. */
export const radiusText = (radiusM) => (radiusM === null ? t("region") : distanceText(radiusM));
