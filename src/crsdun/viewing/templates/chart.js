// Lines over an axis, as SVG: spectra and training curves, in reports (as part of their script) and in the explorer (as
// a module). All text is set as text, never as markup.

// Pages contain no address, not even that of SVG's namespace.
const SVG = Object.assign(document.createElement("template"), {innerHTML: "<svg></svg>"}).content.firstChild.namespaceURI;

export function append(parent, name, attributes = {}, text = null) {
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
  const values = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) values.push(k * step);
  return values;
}

// [logarithm, value] of 1, 2 and 5 in every decade between two logarithms; powers of ten alone where these are many.
function decades(low, high) {
  const values = [];
  for (let power = Math.floor(low); power <= high; power++) {
    for (const digit of high - low > 3 ? [1] : [1, 2, 5]) {
      const value = Number(`${digit}e${power}`), place = Math.log10(value);
      if (place >= low - 1e-9 && place <= high + 1e-9) values.push([place, value]);
    }
  }
  return values.length > 1 ? values : ticks(low, high, 4).map(place => [place, Number((10 ** place).toPrecision(3))]);
}

function short(value) {
  const size = Math.abs(value);
  if (size >= 1e4 || (size > 0 && size < 1e-3)) return value.toExponential(1).replace(".0e", "e").replace("e+", "e");
  return String(Number(value.toPrecision(4)));
}

// Draw lines into an svg.
// lines: [{x, y, colour, dash, width, spread}]; y may hold null; the spread of the first line is shaded.
// options: width, height, margins, label, vertical (of the y axis), strip [x, colour] of the light, mark (a place on the x axis), zero (begin at
// 0), logarithmic, gaps (leave a gap where y is null, instead of a straight line over it).
export function chart(svg, lines, options) {
  const {width = 560, height = 330, label = "", strip = null, mark = null, logarithmic = false} = options;
  const {left, right, top, bottom} = {left: 58, right: 22, top: 12, bottom: 44, ...options.margins};
  const scaled = logarithmic ? value => (value > 0 ? Math.log10(value) : null) : value => value;
  const [first] = lines;
  const around = sign => first.y.map((y, k) => (y === null ? 0 : y + sign * first.spread[k]));
  const edges = first?.spread ? [around(1), around(-1)] : [];
  const xs = lines.length ? lines.flatMap(line => line.x) : (strip ?? []).map(([x]) => x);
  const ys = [...lines.flatMap(line => line.y), ...edges.flat()].filter(y => y !== null).map(scaled).filter(y => y !== null);
  let [x0, x1] = xs.length ? bounds(xs) : [0, 1];
  let [y0, y1] = ys.length ? bounds(ys) : [0, 1];
  if (options.zero) y0 = Math.min(0, y0);
  if (x0 === x1) [x0, x1] = [x0 - 1, x1 + 1];
  if (y0 === y1) [y0, y1] = [y0 - (0.05 * Math.abs(y0) || 1), y1 + (0.05 * Math.abs(y1) || 1)];
  y1 += 0.04 * (y1 - y0);
  const px = x => left + (x - x0) / (x1 - x0) * (width - left - right);
  const py = y => height - bottom - (y - y0) / (y1 - y0) * (height - top - bottom);
  const points = pairs => pairs.map(([x, y]) => `${px(x).toFixed(1)},${py(y).toFixed(1)}`).join(" ");

  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const levels = logarithmic ? decades(y0, y1) : ticks(y0, y1, 5).map(y => [y, y]);
  for (const [y, value] of lines.length ? levels : []) {
    append(svg, "line", {class: "grid", x1: left, x2: width - right, y1: py(y), y2: py(y)});
    append(svg, "text", {x: left - 8, y: py(y) + 4, "text-anchor": "end"}, short(value));
  }
  for (const x of ticks(x0, x1, 6)) {
    append(svg, "text", {x: px(x), y: height - bottom + 20, "text-anchor": "middle"}, short(x));
  }
  append(svg, "text", {x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle"}, label);
  if (options.vertical) {
    const y = (top + height - bottom) / 2;
    append(svg, "text", {x: 12, y, "text-anchor": "middle", transform: `rotate(-90 12 ${y})`}, options.vertical);
  }
  if (strip) {
    strip.forEach(([x, colour], k) => {
      const start = k ? (strip[k - 1][0] + x) / 2 : x, end = k + 1 < strip.length ? (strip[k + 1][0] + x) / 2 : x;
      append(svg, "rect", {x: px(start), width: px(end) - px(start) + 0.5, y: height - bottom, height: 5, fill: colour});
    });
  }
  if (edges.length) {
    const outline = [...first.x.map((x, k) => [x, edges[0][k]]), ...first.x.map((x, k) => [x, edges[1][k]]).reverse()];
    append(svg, "polygon", {points: points(outline), opacity: 0.14}).style.fill = first.colour;
  }
  if (mark !== null) append(svg, "line", {class: "cursor", x1: px(mark), x2: px(mark), y1: top, y2: height - bottom});
  for (const line of lines) {
    const pairs = line.x.map((x, k) => [x, line.y[k] === null ? null : scaled(line.y[k])]);
    for (const known of options.gaps ? runs(pairs) : [pairs.filter(([, y]) => y !== null)]) {
      stroke(append(svg, "polyline", {points: points(known)}), line);
      if (known.length < 3) {
        for (const [x, y] of known) append(svg, "circle", {cx: px(x), cy: py(y), r: 4}).style.fill = line.colour;
      }
    }
  }
  svg.place = event => {
    const box = svg.getBoundingClientRect();
    return x0 + ((event.clientX - box.left) / box.width * width - left) / (width - left - right) * (x1 - x0);
  };
}

// The parts of [x, y] pairs between those without a y.
function runs(pairs) {
  const parts = [[]];
  for (const pair of pairs) {
    if (pair[1] !== null) parts.at(-1).push(pair);
    else if (parts.at(-1).length) parts.push([]);
  }
  return parts.filter(part => part.length);
}

// A short piece of a line, for a legend.
export function lineSample(parent, line) {
  const svg = append(parent, "svg", {class: "chart", viewBox: "0 0 26 8", width: 26, height: 8, "aria-hidden": "true"});
  Object.assign(svg.style, {display: "inline", width: "26px"});
  stroke(append(svg, "polyline", {points: "0,4 26,4"}), line);
}

// Through the style object, which no page's policy forbids.
function stroke(element, {colour, dash = "", width = 2.2}) {
  Object.assign(element.style, {fill: "none", stroke: colour, strokeWidth: width, strokeDasharray: dash || "none", strokeLinejoin: "round"});
}

// The index of the value next to x.
export function nearest(values, x) {
  return values.reduce((best, value, k) => (Math.abs(value - x) < Math.abs(values[best] - x) ? k : best), 0);
}

// Pearson's r, or null where a spectrum is flat or has gaps.
export function correlation(a, b) {
  if (a.includes(null) || b.includes(null)) return null;
  const mean = values => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [ma, mb] = [mean(a), mean(b)];
  let ab = 0, aa = 0, bb = 0;
  a.forEach((value, k) => {
    ab += (value - ma) * (b[k] - mb);
    aa += (value - ma) ** 2;
    bb += (b[k] - mb) ** 2;
  });
  return aa * bb > 1e-24 ? ab / Math.sqrt(aa * bb) : null;
}

// Least and largest without spreading a long list over the stack.
export function bounds(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

export const COLOURS = [1, 2, 3, 4, 5, 6, 7, 8].map(number => `var(--s${number})`);
