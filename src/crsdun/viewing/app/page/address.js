// The state of the view in the address: a reload keeps it, and so does a link to it in the same browser.
import { $ } from "./dom.js";
import { emit, layer, on, state, view } from "./state.js";
import { addPoint } from "./spectra.js";

const SETTLED_MS = 250; // browsers allow only so many changes of the address
const NUMBERS = ["band", "stage", "opacity", "count", "low", "high"];

/** What the address says, without the #. */
function written() {
  const { points, rgb, layers, mode, colours, all, stretch } = view;
  const values = { mode, layers: layers.join("|"), rgb, colours, all: all ? 1 : "", stretch: stretch ? 1 : "",
    points: points.map(({ top, left, height, width, name }) => [top, left, height, width, encodeURIComponent(name)].join()).join(";") };
  for (const name of NUMBERS) values[name] = view[name] ?? "";
  return String(new URLSearchParams(Object.entries(values).filter(([, value]) => value !== "")));
}

function decoded(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

/** Look as an address says, as far as it fits what is open. */
export function restore(hash) {
  const values = new URLSearchParams(hash.replace(/^#/, ""));
  if (!values.has("mode") || !state.scene) return;
  const { bands, height, width } = state.scene;
  const within = (name, low, high) => {
    const number = Number(values.get(name));
    return values.has(name) && number >= low && number <= high ? number : view[name];
  };
  const option = $("mode").querySelector(`option[value="${CSS.escape(values.get("mode"))}"]`);
  if (option && !option.disabled) view.mode = $("mode").value = option.value;
  Object.assign(view, { band: within("band", 0, bands - 1), stage: within("stage", 1, 99), opacity: within("opacity", 0, 100),
    count: within("count", 1, 2), low: within("low", -Infinity, Infinity), high: within("high", -Infinity, Infinity),
    all: values.has("all"), stretch: values.has("stretch") });
  const colours = values.get("colours") ?? "";
  view.colours = colours in state.maps ? colours : "";
  const rgb = (values.get("rgb") ?? "").split(",").map(Number);
  if (rgb.length === 3 && rgb.every((band) => band >= 0 && band < bands)) view.rgb = rgb;
  (values.get("layers") ?? "").split("|").forEach((name, index) => { if (index < 2 && layer(name)) view.layers[index] = name; });
  Object.assign(view, { points: [], active: null });
  for (const text of (values.get("points") ?? "").split(";").filter(Boolean)) {
    const [top, left, down, across, name] = text.split(",");
    const region = { top: Number(top), left: Number(left), height: Number(down), width: Number(across) };
    const isInside = Object.values(region).every(Number.isInteger) && region.top >= 0 && region.left >= 0 && region.height > 0 &&
      region.width > 0 && region.top + region.height <= height && region.left + region.width <= width;
    if (isInside) addPoint(region, decoded(name ?? ""));
  }
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
on("view points state active", () => {
  if (timer !== null) return;
  const rest = last + SETTLED_MS - performance.now();
  if (rest > 0) timer = setTimeout(write, rest);
  else write();
});
addEventListener("hashchange", () => restore(location.hash));
