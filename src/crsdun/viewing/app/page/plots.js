// Line plots as SVG: spectra, and how good trial after trial was.

const SVG = "http://www.w3.org/2000/svg";
const COLOURS = ["#56b4e9", "#2ec99a", "#cc79a7", "#f0e442", "#ff7f50"];
const DASHES = ["", "2 3", "8 3 2 3", "4 2", "1 2"];

/** How a layer is drawn: truth white and solid, GAP-TV dashed, the others told apart by colour and dashes. */
export function LINE(name, place) {
  if (name === "truth") return { colour: "#ffffff", dash: "", width: 2.4 };
  if (name.startsWith("gap-tv")) return { colour: "#e69f00", dash: "7 3", width: 1.8 };
  const kind = (place + COLOURS.length - 1) % COLOURS.length;
  return { colour: COLOURS[kind], dash: DASHES[kind], width: 1.8 };
}

function s(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Round numbers from low to high, about as many as asked for. */
function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-6; value += step) found.push(Number(value.toPrecision(6)));
  return found;
}

/**
 * Spectra over wavelength. Each line has mean, perhaps spread, colour, dash and width; `pick(band)` is called where
 * somebody clicks.
 */
export function chart(lines, subject, width, height, pick) {
  const frame = { left: 36, right: 8, top: 8, bottom: 34 };
  const bands = subject?.bands ?? 1;
  const axis = subject?.wavelengths ?? Array.from({ length: bands }, (_, band) => band + 1);
  const spread = (line, band) => (line === lines[0] ? line.spread?.[band] ?? 0 : 0);
  const values = lines.flatMap((line) => line.mean.flatMap((mean, band) => [mean - spread(line, band), mean + spread(line, band)]));
  const high = Math.max(1e-6, ...values) * 1.05;
  const low = Math.min(0, ...values);
  const [first, last] = [axis[0], axis[bands - 1]];
  const x = (value) => frame.left + ((value - first) / (last - first || 1)) * (width - frame.left - frame.right);
  const y = (value) => height - frame.bottom - ((value - low) / (high - low)) * (height - frame.top - frame.bottom);
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": lines.length ? `spectra of ${[...new Set(lines.map((line) => line.name))].join(", ")}` : "no spectrum yet" });
  svg.place = (band) => x(axis[band]);

  const digits = high - low < 0.2 ? 3 : 2;
  for (const value of lines.length ? ticks(low, high, 4) : []) {
    svg.append(s("line", { x1: frame.left, x2: width - frame.right, y1: y(value), y2: y(value), stroke: "#353b42" }),
      s("text", { x: frame.left - 5, y: y(value) + 4, "text-anchor": "end" }, high >= 10 ? value.toFixed(0) : value.toFixed(digits)));
  }
  for (const value of bands > 1 ? ticks(first, last, 5) : []) {
    svg.append(s("text", { x: x(value), y: height - frame.bottom + 21, "text-anchor": "middle" }, String(value)));
  }
  svg.append(s("text", { x: width - frame.right, y: height - 2, "text-anchor": "end" }, subject?.wavelengths ? "wavelength (nm)" : "band"));
  (subject?.lights ?? []).forEach((light, band) => {
    const from = x(band ? (axis[band - 1] + axis[band]) / 2 : first);
    const to = x(band < bands - 1 ? (axis[band] + axis[band + 1]) / 2 : last);
    svg.append(s("rect", { x: from, y: height - frame.bottom + 2, width: Math.max(0, to - from + 0.5), height: 5, fill: light }));
  });
  svg.append(s("line", { class: "marker", y1: frame.top, y2: height - frame.bottom, stroke: "#a9b2bb", "stroke-dasharray": "2 2" }));
  // One standard deviation around the first line alone, or they would lie over each other.
  for (const line of lines.slice(0, 1)) {
    if (line.spread) {
      const upper = line.mean.map((mean, band) => `${x(axis[band])},${y(mean + line.spread[band])}`);
      const lower = line.mean.map((mean, band) => `${x(axis[band])},${y(mean - line.spread[band])}`).reverse();
      svg.append(s("polygon", { points: [...upper, ...lower].join(" "), fill: line.colour, opacity: 0.14 }));
    }
  }
  for (const line of lines) {
    const points = line.mean.map((mean, band) => `${x(axis[band])},${y(mean)}`).join(" ");
    svg.append(s("polyline", { points, fill: "none", stroke: line.colour, "stroke-width": line.width, "stroke-dasharray": line.dash, "stroke-linejoin": "round" }));
  }
  svg.addEventListener("click", (event) => {
    const at = ((event.clientX - svg.getBoundingClientRect().left) / svg.clientWidth) * width;
    if (subject) pick(axis.reduce((best, value, band) => (Math.abs(x(value) - at) < Math.abs(x(axis[best]) - at) ? band : best), 0));
  });
  return svg;
}

/** A short piece of a line, for a legend. */
chart.sample = ({ colour, dash, width }) =>
  s("svg", { viewBox: "0 0 26 8", "aria-hidden": "true" }, s("line", { x1: 0, x2: 26, y1: 4, y2: 4, stroke: colour, "stroke-width": width, "stroke-dasharray": dash }));

/** PSNR on the left axis, mIoU on the right, over the trials. */
export function trialsChart(trials, width) {
  const height = 110, frame = { left: 30, right: 30, top: 16, bottom: 16 };
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "PSNR and mIoU of the trials" });
  const x = (place) => frame.left + ((width - frame.left - frame.right) * (place + 0.5)) / trials.length;
  const draw = (key, colour, dash, side, title, digits) => {
    const known = trials.map((trial, place) => [place, trial[key]]).filter(([, value]) => typeof value === "number");
    if (!known.length) return;
    const all = known.map(([, value]) => value);
    const middle = (Math.min(...all) + Math.max(...all)) / 2;
    const half = Math.max((Math.max(...all) - Math.min(...all)) / 2, key === "psnr_db" ? 0.5 : 0.02);
    const y = (value) => frame.top + ((middle + half - value) / (2 * half)) * (height - frame.top - frame.bottom);
    const edge = side === "end" ? frame.left - 4 : width - frame.right + 4;
    for (const value of [middle - half, middle + half]) svg.append(s("text", { x: edge, y: y(value) + 4, "text-anchor": side }, value.toFixed(digits)));
    svg.append(s("text", { x: side === "end" ? frame.left : width - frame.right, y: 9, "text-anchor": side === "end" ? "start" : "end", fill: colour }, title));
    svg.lastChild.style.fill = colour;
    svg.append(s("polyline", { points: known.map(([place, value]) => `${x(place)},${y(value)}`).join(" "), fill: "none", stroke: colour, "stroke-width": 1.8, "stroke-dasharray": dash }));
    for (const [place, value] of known) {
      svg.append(key === "psnr_db" ? s("circle", { cx: x(place), cy: y(value), r: 3, fill: colour }) : s("rect", { x: x(place) - 3, y: y(value) - 3, width: 6, height: 6, fill: colour }));
    }
  };
  draw("psnr_db", "#56b4e9", "", "end", "● PSNR (dB)", 1);
  draw("miou_present", "#e69f00", "5 3", "start", "■ mIoU", 2);
  return svg;
}
