// The plots of the explorer: spectra, and how good trial after trial was.
import { append, chart, nearest } from "./chart.js";

const COLOURS = [1, 2, 3, 4, 5].map((number) => `var(--line${number})`);
const DASHES = ["", "2 3", "8 3 2 3", "4 2", "1 2"];
const MARGINS = { left: 58, right: 8, top: 8, bottom: 38 };

/** How a layer is drawn: truth solid, in the colour of text, GAP-TV dashed, the others by colours and dashes of their own. */
export function lineStyle(name, index) {
  if (name === "truth") return { colour: "var(--ink)", dash: "", width: 2.4 };
  if (name === "gap-tv") return { colour: "var(--line6)", dash: "7 3", width: 1.8 };
  const kind = (index + COLOURS.length - 1) % COLOURS.length;
  return { colour: COLOURS[kind], dash: DASHES[kind], width: 1.8 };
}

/** How a reference spectrum is drawn: thin, with long and short dashes. */
export const referenceStyle = (index) => ({ colour: COLOURS[COLOURS.length - 1 - (index % COLOURS.length)], dash: "10 3 2 3 2 3", width: 1.5 });

/** Spectra over the bands of a scene, or over an x of their own; each line has a mean, perhaps a spread, and a style. A click calls `pick(band)`. */
export function spectraPlot(box, lines, scene, band, pick) {
  const svg = box.firstChild ?? append(box, "svg", { class: "chart", role: "img" });
  const axis = scene?.wavelengths ?? Array.from({ length: scene?.bands ?? 1 }, (_, index) => index + 1);
  svg.setAttribute("aria-label", lines.length ? `spectra of ${[...new Set(lines.map((line) => line.name))].join(", ")}` : "no spectrum yet");
  chart(svg, lines.map((line) => ({ x: axis, ...line, y: line.mean })), {
    width: box.clientWidth, height: box.clientHeight, margins: MARGINS, zero: true, gaps: true,
    label: scene?.wavelengths ? "wavelength (nm)" : "band", vertical: "reflectance",
    strip: axis.map((x, index) => [x, scene?.lights[index] ?? "none"]),
    mark: scene ? axis[band] : null,
  });
  svg.onclick = (event) => { if (scene) pick(nearest(axis, svg.place(event))); };
}

/** PSNR on the left axis, mIoU on the right, over the trials. */
export function trialsPlot(trials, width) {
  const height = 110, frame = { left: 30, right: 30, top: 16, bottom: 16 };
  const svg = append(document.createElement("div"), "svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "PSNR and mIoU of the trials" });
  const x = (index) => frame.left + ((width - frame.left - frame.right) * (index + 0.5)) / trials.length;
  const draw = (key, colour, dash, side, title, digits) => {
    const known = trials.map((trial, index) => [index, trial[key]]).filter(([, value]) => typeof value === "number");
    if (!known.length) return;
    const all = known.map(([, value]) => value);
    const middle = (Math.min(...all) + Math.max(...all)) / 2;
    const half = Math.max((Math.max(...all) - Math.min(...all)) / 2, key === "psnr_db" ? 0.5 : 0.02);
    const y = (value) => frame.top + ((middle + half - value) / (2 * half)) * (height - frame.top - frame.bottom);
    const edge = side === "end" ? frame.left - 4 : width - frame.right + 4;
    for (const value of [middle - half, middle + half]) append(svg, "text", { x: edge, y: y(value) + 4, "text-anchor": side }, value.toFixed(digits));
    append(svg, "text", { x: side === "end" ? frame.left : width - frame.right, y: 9, "text-anchor": side === "end" ? "start" : "end" }, title).style.fill = colour;
    append(svg, "polyline", { points: known.map(([index, value]) => `${x(index)},${y(value)}`).join(" "), fill: "none", stroke: colour, "stroke-width": 1.8, "stroke-dasharray": dash });
    for (const [index, value] of known) {
      if (key === "psnr_db") append(svg, "circle", { cx: x(index), cy: y(value), r: 3, fill: colour });
      else append(svg, "rect", { x: x(index) - 3, y: y(value) - 3, width: 6, height: 6, fill: colour });
    }
  };
  draw("psnr_db", "#56b4e9", "", "end", "● PSNR (dB)", 1);
  draw("miou_present", "#e69f00", "5 3", "start", "■ mIoU", 2);
  return svg;
}
