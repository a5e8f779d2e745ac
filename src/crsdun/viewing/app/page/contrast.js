// The scale of the pictures: its limits, which are the same in both, how often which value occurs, and its colours.
import { append } from "./chart.js";
import { $, h } from "./dom.js";
import { emit, on, state, view } from "./state.js";

let shown = null; // the legend whose scale is drawn

/** A short text of a number. */
export const short = (value) => (value === null || value === undefined ? "–" : String(Number(value.toPrecision(4))));

/** Draw the scale that a legend describes. */
export function drawScale(legend) {
  shown = legend;
  $("scale-text").textContent = $("scale-text").title = legend.text;
  $("contrast").hidden = legend.low === null;
  if (legend.low === null) return;
  for (const name of ["low", "high"]) if (document.activeElement !== $(name)) $(name).value = short(legend[name]);
  const names = Object.keys(state.maps);
  $("colours").replaceChildren(h("option", { value: "" }, "colours"),
    ...names.map((name) => h("option", { value: name, selected: name === view.colours }, name)));
  const stops = state.maps[legend.map];
  const svg = append(document.createElement("div"), "svg", { viewBox: "0 0 128 20", role: "img",
    "aria-label": `histogram of the values, ${short(legend.least)} to ${short(legend.most)}` });
  const most = Math.max(1, ...legend.counts);
  legend.counts.forEach((count, bin) => {
    const height = count ? 1 + 19 * Math.sqrt(count / most) : 0;
    append(svg, "rect", { class: "bars", x: (128 * bin) / legend.counts.length, y: 20 - height, width: 128 / legend.counts.length, height });
  });
  for (const limit of [legend.low, legend.high]) {
    const x = (128 * (limit - legend.least)) / (legend.most - legend.least || 1);
    append(svg, "line", { class: "limit", x1: x, x2: x, y1: 0, y2: 20 });
  }
  $("ramp").replaceChildren(svg, h("i", { style: { background: `linear-gradient(90deg, ${stops.join()})` } }));
}

/** Show values between other limits; null leaves them to the values. */
function setLimits(low, high) {
  Object.assign(view, { low, high });
  emit("view");
}

for (const name of ["low", "high"]) {
  $(name).onchange = () => {
    const typed = $(name).value.trim() === "" ? NaN : Number($(name).value.replace(",", "."));
    if (!Number.isFinite(typed)) { $(name).value = short(shown[name]); return; }
    setLimits(name === "low" ? typed : shown.low, name === "high" ? typed : shown.high);
  };
}
$("ramp").onclick = (event) => {
  const box = $("ramp").getBoundingClientRect();
  const value = shown.least + ((event.clientX - box.left) / box.width) * (shown.most - shown.least);
  if (Math.abs(value - shown.low) < Math.abs(value - shown.high)) setLimits(value, shown.high);
  else setLimits(shown.low, value);
};
$("colours").onchange = () => { view.colours = $("colours").value; emit("view"); };
$("auto-contrast").onclick = () => { view.colours = ""; setLimits(null, null); };
on("mode scene", () => Object.assign(view, { low: null, high: null, colours: "" })); // other values, other limits
