// Points and boxes that are kept, and the spectra of these and under the pointer.
import { address, post } from "./api.js";
import { correlation, lineSample } from "./chart.js";
import { showSpectra } from "./cursor.js";
import { $, h, notify, save } from "./dom.js";
import { lineStyle, spectraPlot } from "./plots.js";
import { setBand } from "./sliders.js";
import { emit, isMap, isPixel, on, state, TRUTH, view } from "./state.js";

const POINT_COLOURS = ["#56b4e9", "#e69f00", "#2ec99a", "#f0e442", "#cc79a7", "#ff8c42", "#b3b3ff", "#c3f0b4"];
const MOST_POINTS = 64;

let kept = []; // spectra of every kept point
let hovered = null; // the region under the pointer and its spectra
let busy = false;
let lines = []; // in the plot

// -- asking -----------------------------------------------------------------------------------------------------

/** The spectra at the cross, one request at a time. */
async function readHovered() {
  if (busy) return;
  busy = true;
  let point;
  do {
    point = view.cross;
    hovered = null;
    if (point) {
      try { hovered = { point, spectra: (await post("/api/spectra", { points: [point], stage: view.stage }))[0] }; }
      catch { break; }
      if (!isMap()) showSpectra(point, hovered.spectra);
      drawSpectrum();
    }
  } while (point !== view.cross);
  busy = false;
  drawSpectrum();
}

async function readKept() {
  kept = view.points.length ? await post("/api/spectra", { points: view.points, stage: view.stage }) : [];
  drawSpectrum();
}

on("scene", () => { hovered = null; });
on("cross", readHovered);
on("state stage points", readKept);
on("active", drawSpectrum);
on("view", drawPlot);

// -- drawing ----------------------------------------------------------------------------------------------------

/** In the plot: the region under the pointer, else the active point, else all that are kept. */
function drawSpectrum() {
  const shown = hovered ? [hovered] : view.points.map((point, index) => ({ point, spectra: kept[index] }))
    .filter(({ spectra }, index) => spectra && (view.all || index === view.active));
  const together = view.all && !hovered;
  lines = shown.flatMap(({ point, spectra }) => state.scene.layers.flatMap(({ name }, index) => {
    if (!spectra[name]) return [];
    const style = lineStyle(name, index);
    return [{ ...style, ...(together && { colour: point.colour }), ...spectra[name], name }];
  }));
  drawPlot();
  const first = shown[0];
  const truth = first?.spectra[TRUTH]?.mean;
  const entries = together ? legend(shown) : lines;
  $("lines").replaceChildren(...entries.map((line) => {
    const r = truth && line.mean && line.name !== TRUTH ? correlation(truth, line.mean) : undefined;
    const entry = h("div");
    lineSample(entry, line);
    entry.append(h("span", {}, line.name),
      ...(r === undefined ? [] : [h("span", { className: "r" }, `r = ${r === null ? "–" : r.toFixed(3)}`)]));
    return entry;
  }));
  $("where").textContent = together ? "all points" : first ? rowsAndColumns(first.point) : "Move over a picture; click a pixel or draw a box to keep it.";
  emit("spectrum", first?.spectra);
}

/** Of several points: the colour of each, then the dashes of each layer. */
function legend(shown) {
  const points = shown.map(({ point }) => ({ colour: point.colour, dash: "", name: point.name, mean: null }));
  return [...points, ...state.scene.layers.map(({ name }, index) => ({ ...lineStyle(name, index), colour: "var(--ink)", name, mean: null }))];
}

new ResizeObserver(() => { if (state) drawPlot(); }).observe($("plot"));

function drawPlot() {
  spectraPlot($("plot"), lines, state.scene, view.band, setBand);
}

const rowsAndColumns = ({ top, left, height, width }) =>
  height * width === 1 ? `row ${top}, column ${left}` : `rows ${top}–${top + height - 1}, columns ${left}–${left + width - 1}`;

// -- keeping ----------------------------------------------------------------------------------------------------

on("keep", (region) => {
  const index = view.points.length;
  if (index >= MOST_POINTS) { notify(`${MOST_POINTS} points are kept already; remove some first`, true); return; }
  const kind = isPixel(region) ? "point" : "box";
  const names = view.points.map((point) => point.name);
  let count = index + 1;
  while (names.includes(`${kind} ${count}`)) count++;
  addPoint(region, `${kind} ${count}`);
  emit("points");
});

/** Add a point or box to those that are kept. */
export function addPoint(region, name) {
  const index = view.points.length;
  if (index >= MOST_POINTS) return;
  view.points.push({ ...region, name, colour: POINT_COLOURS[index % POINT_COLOURS.length] });
  view.active = index;
}

function remove(index) {
  view.points.splice(index, 1);
  view.active = view.points.length ? Math.min(view.active, view.points.length - 1) : null;
  emit("points");
}

function drawPoints() {
  $("points").replaceChildren(...view.points.map((point, index) => {
    const badge = h("button", { className: "badge", type: "button", style: { background: point.colour },
      onclick: () => { view.active = index; drawPoints(); emit("active"); } }, String(index + 1));
    badge.setAttribute("aria-label", `show ${point.name}`);
    const name = h("input", { value: point.name, maxLength: 80, oninput: () => { point.name = name.value; emit("active"); } });
    name.setAttribute("aria-label", `name of point ${index + 1}`);
    const size = isPixel(point) ? `${point.top}, ${point.left}` : `${point.height}×${point.width}`;
    const button = h("button", { className: "remove", type: "button", onclick: () => remove(index) }, "✕");
    button.setAttribute("aria-label", `remove ${point.name}`);
    return h("li", { className: index === view.active ? "active" : "" }, badge, name, h("span", {}, size), button);
  }));
  for (const id of ["csv", "clear-points"]) $(id).disabled = !view.points.length;
}
on("state points", drawPoints);

$("all-points").onchange = () => { view.all = $("all-points").checked; emit("active"); };
$("clear-points").onclick = () => { Object.assign(view, { points: [], active: null }); emit("points"); };
$("csv").onclick = () => {
  const points = view.points.map(({ name, top, left, height, width }) => ({ name, top, left, height, width }));
  save(address("/api/spectra.csv", { stage: view.stage, points: JSON.stringify(points) }), "spectra.csv");
};
