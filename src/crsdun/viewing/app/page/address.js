// The state of the view in the address: a reload keeps it, and so does a link to it in the same browser.
import { $ } from "./dom.js";
import { emit, layer, on, state, UNKNOWN, view } from "./state.js";
import { setReferences } from "./references.js";
import { addRegion } from "./regions.js";

const SETTLED_MS = 250; // browsers allow only so many changes of the address
const NUMBERS = ["band", "stage", "opacity", "count", "low", "high"];

const polygon = (rings) => `p${rings.map((ring) => ring.flat().join(" ")).join("/")}`;

/** What the address says, without the #. */
export function written() {
  const { points, rgb, layers, mode, colours, all, stretch, swipe, references } = view;
  const place = ({ rings, top, left, height, width }) => (rings ? polygon(rings) : [top, left, height, width].join());
  const values = { mode, layers: layers.join("|"), rgb, colours, all: all ? 1 : "", stretch: stretch ? 1 : "", swipe: swipe ? 1 : "",
    hidden: [...view.hidden].sort((a, b) => a - b).join() || "none",
    points: points.map((point) => `${place(point)},${encodeURIComponent(point.name)}`).join(";"),
    references: references.map(({ file, index }) => `${index},${encodeURIComponent(file)}`).join(";") };
  for (const name of NUMBERS) values[name] = view[name] ?? "";
  return String(new URLSearchParams(Object.entries(values).filter(([, value]) => value !== "")));
}

function decoded(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

/** The region that a part of an address describes, without its name; null where it lies outside the scene. */
function regionFrom(text) {
  const { height, width } = state.scene;
  if (text.startsWith("p")) {
    const rings = text.slice(1).split("/").map((ring) => {
      const numbers = ring.split(" ").map(Number);
      return Array.from({ length: numbers.length / 2 }, (_, index) => numbers.slice(2 * index, 2 * index + 2));
    });
    const inside = ([x, y]) => x >= 0 && x <= width && y >= 0 && y <= height;
    return rings.every((ring) => ring.length > 2 && ring.every(inside)) ? { rings } : null;
  }
  const [top, left, down, across] = text.split(",").map(Number);
  const isInside = [top, left, down, across].every(Number.isInteger) && top >= 0 && left >= 0 && down > 0 && across > 0 &&
    top + down <= height && left + across <= width;
  return isInside ? { top, left, height: down, width: across } : null;
}

/** Look as an address says, as far as it fits what is open. */
export function restore(hash) {
  const values = new URLSearchParams(hash.replace(/^#/, ""));
  if (!values.has("mode") || !state.scene) return;
  const { bands } = state.scene;
  const within = (name, low, high) => {
    const number = Number(values.get(name));
    return values.has(name) && number >= low && number <= high ? number : view[name];
  };
  const option = $("mode").querySelector(`option[value="${CSS.escape(values.get("mode"))}"]`);
  if (option && !option.disabled) view.mode = $("mode").value = option.value;
  Object.assign(view, { band: within("band", 0, bands - 1), stage: within("stage", 1, 99), opacity: within("opacity", 0, 100),
    count: within("count", 1, 2), low: within("low", -Infinity, Infinity), high: within("high", -Infinity, Infinity),
    all: values.has("all"), stretch: values.has("stretch") });
  view.swipe = values.has("swipe") && view.count === 2;
  const colours = values.get("colours") ?? "";
  view.colours = colours in state.maps ? colours : "";
  const rgb = (values.get("rgb") ?? "").split(",").map(Number);
  if (rgb.length === 3 && rgb.every((band) => band >= 0 && band < bands)) view.rgb = rgb;
  const isClass = (number) => number === UNKNOWN || (Number.isInteger(number) && number >= 0 && number < state.scene.classes.length);
  if (values.has("hidden")) view.hidden = new Set(values.get("hidden").split(",").map(Number).filter(isClass));
  (values.get("layers") ?? "").split("|").forEach((name, index) => { if (index < 2 && layer(name)) view.layers[index] = name; });
  Object.assign(view, { points: [], active: null });
  for (const text of (values.get("points") ?? "").split(";").filter(Boolean)) {
    const [place, name] = [text.slice(0, text.lastIndexOf(",")), text.slice(text.lastIndexOf(",") + 1)];
    const region = regionFrom(place);
    if (region) addRegion({ ...region, name: decoded(name) });
  }
  setReferences((values.get("references") ?? "").split(";").filter(Boolean).map((text) => {
    const [index, file] = text.split(",");
    return { file: decoded(file ?? ""), index: Number(index) };
  }));
  $("all-points").checked = view.all;
  $("stretch").checked = view.stretch;
  emit("restored");
  emit("view");
  emit("points");
}

let timer = null, last = -SETTLED_MS;
function write() {
  [timer, last] = [null, performance.now()];
  history.replaceState(null, "", `#${written()}`);
}
on("view points state active references", () => {
  if (timer !== null) return;
  const rest = last + SETTLED_MS - performance.now();
  if (rest > 0) timer = setTimeout(write, rest);
  else write();
});
addEventListener("hashchange", () => restore(location.hash));
