"use strict";
// Lines over an axis, as SVG: spectra and training curves. All text is set as text, never as markup.

const SVG = document.querySelector("svg")?.namespaceURI;  // no page spells an address, not even this one

function made(parent, name, attributes = {}, text = null) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== null) element.textContent = text;
  parent.append(element);
  return element;
}

// About `count` round numbers that cover low..high.
function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 2.5, 5, 10].find(factor => factor * power >= rough);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(k * step);
  return found;
}

// [logarithm, value] of 1, 2 and 5 in every decade between two logarithms; powers of ten alone where these are many.
function decades(low, high) {
  const found = [];
  for (let power = Math.floor(low); power <= high; power++) {
    for (const digit of high - low > 3 ? [1] : [1, 2, 5]) {
      const value = Number(`${digit}e${power}`), place = Math.log10(value);
      if (place >= low - 1e-9 && place <= high + 1e-9) found.push([place, value]);
    }
  }
  return found.length > 1 ? found : ticks(low, high, 4).map(place => [place, Number((10 ** place).toPrecision(3))]);
}

function short(value) {
  const size = Math.abs(value);
  if (size >= 1e4 || (size > 0 && size < 1e-3)) return value.toExponential(1).replace(".0e", "e").replace("e+", "e");
  return String(Number(value.toPrecision(4)));
}

// lines: [{x, y, colour, dashed}], y may hold null. options: width, height, label, strip [colours of the light],
// mark (a place on the x axis), zero (begin at 0), logarithmic, onpick(x).
function chart(svg, lines, options) {
  const {width = 560, height = 330, label = "", strip = null, mark = null, logarithmic = false} = options;
  const left = 58, right = 22, top = 12, bottom = 44;
  const scaled = logarithmic ? value => (value > 0 ? Math.log10(value) : null) : value => value;
  const xs = lines.flatMap(line => line.x);
  const ys = lines.flatMap(line => line.y).filter(y => y !== null).map(scaled).filter(y => y !== null);
  let [x0, x1] = xs.length ? bounds(xs) : [0, 1];
  let [y0, y1] = ys.length ? bounds(ys) : [0, 1];
  if (options.zero) y0 = Math.min(0, y0);
  if (x0 === x1) [x0, x1] = [x0 - 1, x1 + 1];
  if (y0 === y1) [y0, y1] = [y0 - (0.05 * Math.abs(y0) || 1), y1 + (0.05 * Math.abs(y1) || 1)];
  y1 += 0.04 * (y1 - y0);
  const px = x => left + (x - x0) / (x1 - x0) * (width - left - right);
  const py = y => height - bottom - (y - y0) / (y1 - y0) * (height - top - bottom);

  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const levels = logarithmic ? decades(y0, y1) : ticks(y0, y1, 5).map(y => [y, y]);
  for (const [y, value] of levels) {
    made(svg, "line", {class: "grid", x1: left, x2: width - right, y1: py(y), y2: py(y)});
    made(svg, "text", {x: left - 8, y: py(y) + 4, "text-anchor": "end"}, short(value));
  }
  for (const x of ticks(x0, x1, 6)) {
    made(svg, "text", {x: px(x), y: height - bottom + 20, "text-anchor": "middle"}, short(x));
  }
  made(svg, "text", {x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle"}, label);
  if (strip) {
    strip.forEach(([x, colour], k) => {
      const start = k ? (strip[k - 1][0] + x) / 2 : x, end = k + 1 < strip.length ? (strip[k + 1][0] + x) / 2 : x;
      made(svg, "rect", {x: px(start), width: px(end) - px(start) + 0.5, y: height - bottom, height: 5, fill: colour});
    });
  }
  if (mark !== null) made(svg, "line", {class: "cursor", x1: px(mark), x2: px(mark), y1: top, y2: height - bottom});
  for (const line of lines) {
    const places = line.x.map((x, k) => [x, line.y[k] === null ? null : scaled(line.y[k])]);
    const known = places.filter(([, y]) => y !== null);
    const style = `stroke:${line.colour}`;
    const points = known.map(([x, y]) => `${px(x).toFixed(1)},${py(y).toFixed(1)}`).join(" ");
    made(svg, "polyline", {points, style, class: line.dashed ? "dashed" : "solid"});
    if (known.length < 3) {
      for (const [x, y] of known) made(svg, "circle", {cx: px(x), cy: py(y), r: 4, style: `fill:${line.colour}`});
    }
  }
  svg.place = event => {
    const box = svg.getBoundingClientRect();
    return x0 + ((event.clientX - box.left) / box.width * width - left) / (width - left - right) * (x1 - x0);
  };
}

// Least and largest without spreading a long list over the stack.
function bounds(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

const COLOURS = [1, 2, 3, 4, 5, 6, 7, 8].map(number => `var(--s${number})`);
const data = JSON.parse(document.getElementById("data").textContent);
