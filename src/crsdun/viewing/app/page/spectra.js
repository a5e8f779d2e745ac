// The spectra of the regions that are kept, and under the pointer.
import { post } from "./api.js";
import { correlation, lineSample } from "./chart.js";
import { showSpectra } from "./cursor.js";
import { $, h } from "./dom.js";
import { lineStyle, spectraPlot } from "./plots.js";
import { lines as references } from "./references.js";
import { asked, placeOf } from "./regions.js";
import { setBand } from "./sliders.js";
import { emit, isMap, on, state, TRUTH, view } from "./state.js";

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

let reading = false, changed = false;
/** The spectra of what is kept, one request at a time. */
async function readKept() {
  changed = true;
  if (reading) return;
  reading = true;
  try {
    while (changed) {
      changed = false;
      kept = view.points.length ? await post("/api/spectra", { points: view.points.map(asked), stage: view.stage }) : [];
    }
  } finally { reading = false; }
  drawSpectrum();
}

on("scene", () => { hovered = null; });
on("cross", readHovered);
on("state stage points", readKept);
on("active lines", drawSpectrum);
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
  lines = [...lines, ...references];
  drawPlot();
  const first = shown[0];
  const truth = first?.spectra[TRUTH]?.mean;
  const entries = together ? [...legend(shown), ...references] : lines;
  $("lines").replaceChildren(...entries.map((line) => {
    const r = truth && line.mean && line.name !== TRUTH && !line.x ? correlation(truth, line.mean) : undefined;
    const entry = h("div");
    lineSample(entry, line);
    entry.append(h("span", {}, line.name),
      ...(r === undefined ? [] : [h("span", { className: "r" }, `r = ${r === null ? "–" : r.toFixed(3)}`)]));
    return entry;
  }));
  $("where").textContent = together ? "all regions" : first ? described(first) : "Move over a picture; click a pixel, or draw a box or a polygon, to keep it.";
  emit("spectrum", first?.spectra);
}

/** What a spectrum is of: the place, and of how many pixels it is the mean. */
function described({ point, spectra }) {
  const { pixels } = Object.values(spectra)[0];
  return `${placeOf(point)}${pixels > 1 ? `, mean ± standard deviation of ${pixels.toLocaleString("en")} pixels` : ""}`;
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
