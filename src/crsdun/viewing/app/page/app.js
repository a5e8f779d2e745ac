// The page of the explorer: draws what the server tells. Pictures and spectra are computed there.
import { chart, trialsChart, LINE } from "./plots.js";

const $ = (id) => document.getElementById(id);
const TRUTH = "truth";
const DETECTOR = ["measurement", "residual"];
const POINT_COLOURS = ["#56b4e9", "#e69f00", "#2ec99a", "#f0e442", "#cc79a7", "#ff8c42", "#b3b3ff", "#c3f0b4"];
const PHOTONS = [0, 10000, 5000, 2000, 1000, 500, 200, 100, 50, 20, 10, 5, 2, 1];

let state = null; // what the server last told
const view = {
  mode: "colour", band: 0, rgb: [0, 0, 0], stretch: false, stage: 1, opacity: 0, count: 2, hidden: new Set(),
  way: "association", of: [TRUTH, TRUTH], points: [], active: null, cross: null, all: false, zoom: 1, centre: [0.5, 0.5],
};

// -- small things ---------------------------------------------------------------------------------------------

/** An element: h("p", { id: "a", onclick: f }, "text", other). */
function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "style") Object.assign(element.style, value);
    else if (name in element && !name.startsWith("aria")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function tell(text, bad = false) {
  $("status").textContent = text;
  $("status").title = text;
  $("status").classList.toggle("bad", bad);
}

/** Ask the server; what it refuses is told and thrown. */
async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { "x-crsdun": "page", ...options.headers } });
  } catch {
    tell("the explorer does not answer; is crsdun app still running?", true);
    throw new Error("no answer");
  }
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    const text = told.error || "this should not happen; the terminal tells where";
    tell(text, true);
    throw new Error(text);
  }
  return answer;
}
const say = async (path, what = {}) => (await ask(path, { method: "POST", body: JSON.stringify(what) })).json();
const layer = (name) => state.subject?.layers.find((each) => each.name === name);
const stages = () => Math.max(1, ...(state.subject?.layers ?? []).map((each) => each.stages));
const number = (value, digits) => (value === undefined || value === null ? "–" : value.toFixed(digits));

// -- pictures -------------------------------------------------------------------------------------------------

const bitmaps = new Map(); // path and version → picture and legend, the latest last
const LARGEST_STORE = 60;

async function fetched(path) {
  const key = `${state.version} ${path}`;
  if (!bitmaps.has(key)) {
    const answer = await ask(path);
    const kept = path.startsWith("/api/classes")
      ? new Uint8Array(await answer.arrayBuffer())
      : { legend: JSON.parse(answer.headers.get("x-legend")), image: await createImageBitmap(await answer.blob()) };
    bitmaps.set(key, kept);
    if (bitmaps.size > LARGEST_STORE) bitmaps.delete(bitmaps.keys().next().value);
  }
  return bitmaps.get(key);
}

/** One of the two pictures, with classes and marks over it. */
class Pane {
  constructor(place) {
    this.place = place;
    this.select = h("select", { onchange: () => { view.of[place] = this.select.value; draw(); } });
    this.select.setAttribute("aria-label", place ? "second picture shows" : "first picture shows");
    this.told = h("span");
    this.canvas = h("canvas");
    this.over = h("canvas", { className: "over" });
    this.marks = h("div");
    this.stack = h("div", { className: "stack" }, this.canvas, this.over, this.marks);
    this.nothing = h("div", { className: "nothing", hidden: true });
    this.box = h("div", { className: "view", tabIndex: 0 }, this.stack, this.nothing);
    this.box.setAttribute("role", "application");
    this.root = h("div", { className: "pane" }, h("div", { className: "title" }, this.select, this.told), this.box);
    this.busy = false;
    new ResizeObserver(() => this.arrange()).observe(this.box);
    this.listen();
  }

  /** Draw what is wanted now; while a picture is on its way only the latest wish waits. */
  async draw() {
    if (this.busy) { this.again = true; return; }
    this.busy = true;
    do {
      this.again = false;
      try { await this.drawOnce(); } catch (error) { this.refuse(error.message); }
    } while (this.again);
    this.busy = false;
  }

  async drawOnce() {
    const shown = layer(view.of[this.place]);
    if (!shown && state.subject?.detector) { await this.drawMeasurement(); return; }
    if (!shown) { this.refuse("Choose a sample, or drop a file."); return; }
    const stage = Math.min(view.stage, shown.stages);
    const bands = view.mode === "false" ? view.rgb.join(",") : view.band;
    const of = encodeURIComponent(shown.name);
    const needsBand = view.mode === "band" || view.mode === "false";
    const path = `/api/picture?of=${of}&stage=${stage}&mode=${view.mode}` +
      (needsBand ? `&bands=${bands}&stretch=${view.stretch ? 1 : 0}` : "");
    const { image, legend } = await fetched(path);
    const flat = DETECTOR.includes(view.mode) && !(view.mode === "residual" && shown.name === TRUTH);
    this.flat = flat;
    const segments = !flat && view.opacity > 0 && shown.segments[stage - 1];
    const classes = segments ? await fetched(`/api/classes?of=${of}&stage=${stage}`) : null;
    this.nothing.hidden = true;
    this.size(image.width, image.height);
    this.canvas.getContext("2d").drawImage(image, 0, 0);
    this.paint(classes, image.width, image.height);
    this.legend = legend;
    const figures = shown.stage_metrics[stage - 1] ?? {};
    const words = [];
    if (figures.psnr_db !== undefined) words.push(`${figures.psnr_db.toFixed(2)} dB`);
    if (figures.miou_present !== undefined) words.push(`mIoU ${figures.miou_present.toFixed(3)}`);
    this.told.textContent = words.join(" · ");
    this.box.setAttribute("aria-label", `${shown.name}, ${legend.text}. Arrow keys move the cross, Enter keeps the point.`);
    this.box.dataset.shown = path;
    this.mark();
    if (this.place === view.count - 1) drawScale(legend);
  }

  /** All there is to see before anything was decoded. */
  async drawMeasurement() {
    const path = "/api/picture?mode=measurement";
    const { image, legend } = await fetched(path);
    this.flat = true;
    this.nothing.hidden = true;
    this.size(image.width, image.height);
    this.canvas.getContext("2d").drawImage(image, 0, 0);
    this.paint(null, image.width, image.height);
    this.told.textContent = "the coded measurement; decode it to see the scene";
    this.box.setAttribute("aria-label", legend.text);
    this.box.dataset.shown = path;
    this.mark();
    drawScale(legend);
  }

  refuse(text) {
    this.nothing.textContent = text;
    this.nothing.hidden = false;
    this.told.textContent = "";
    this.box.dataset.shown = "";
  }

  size(width, height) {
    if (this.canvas.width === width && this.canvas.height === height) return;
    for (const canvas of [this.canvas, this.over]) { canvas.width = width; canvas.height = height; }
    this.arrange();
  }

  paint(classes, width, height) {
    const context = this.over.getContext("2d");
    context.clearRect(0, 0, width, height);
    this.over.style.opacity = view.opacity / 100;
    if (!classes) return;
    const pixels = context.createImageData(width, height);
    const words = new Uint32Array(pixels.data.buffer);
    const colours = new Uint32Array(256);
    state.subject.classes.forEach(({ colour }, place) => {
      const value = parseInt(colour.slice(1), 16);
      const [red, green, blue] = [value >> 16, (value >> 8) & 255, value & 255];
      if (!view.hidden.has(place)) colours[place] = ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
    });
    for (let place = 0; place < classes.length; place++) words[place] = colours[classes[place]];
    context.putImageData(pixels, 0, 0);
  }

  /** Where the picture lies in its box: whole, or enlarged around the common centre. */
  arrange() {
    const { clientWidth: W, clientHeight: H } = this.box;
    if (!W || !this.canvas.width) return;
    const fit = Math.min(W / this.canvas.width, H / this.canvas.height) * (this.flat ? 1 : view.zoom);
    const [width, height] = [this.canvas.width * fit, this.canvas.height * fit];
    const at = (length, room, centre) =>
      length <= room ? (room - length) / 2 : Math.min(0, Math.max(room - length, room / 2 - centre * length));
    const place = { width, height, left: at(width, W, view.centre[0]), top: at(height, H, view.centre[1]) };
    for (const [name, value] of Object.entries(place)) this.stack.style[name] = `${value}px`;
  }

  /** Row and column under the pointer; null outside. */
  pixel(event) {
    const frame = this.stack.getBoundingClientRect();
    const column = Math.floor(((event.clientX - frame.left) / frame.width) * this.canvas.width);
    const row = Math.floor(((event.clientY - frame.top) / frame.height) * this.canvas.height);
    const inside = row >= 0 && column >= 0 && row < this.canvas.height && column < this.canvas.width;
    return inside && !this.flat ? [row, column] : null;
  }

  listen() {
    let from = null, start = null;
    this.box.addEventListener("pointermove", (event) => {
      if (event.shiftKey && start) {
        const frame = this.stack.getBoundingClientRect();
        view.centre = [start.centre[0] - (event.clientX - start.x) / frame.width,
          start.centre[1] - (event.clientY - start.y) / frame.height];
        panes.forEach((pane) => pane.arrange());
        return;
      }
      const here = this.pixel(event);
      if (!here) return;
      view.cross = from && moved(from, here) ? boxOf(from, here) : { top: here[0], left: here[1], height: 1, width: 1 };
      hover();
    });
    this.box.addEventListener("pointerleave", () => { if (!from) { view.cross = null; hover(); } });
    this.box.addEventListener("pointerdown", (event) => {
      start = { x: event.clientX, y: event.clientY, centre: [...view.centre] };
      from = event.shiftKey ? null : this.pixel(event);
      if (from) this.box.setPointerCapture(event.pointerId);
    });
    this.box.addEventListener("pointerup", (event) => {
      const here = this.pixel(event) ?? (view.cross && [view.cross.top, view.cross.left]);
      if (from && here) {
        const box = view.cross && view.cross.height * view.cross.width > 1;
        keep(box ? view.cross : { top: here[0], left: here[1], height: 1, width: 1 });
      }
      from = start = null;
    });
    this.box.addEventListener("wheel", (event) => {
      event.preventDefault();
      const frame = this.stack.getBoundingClientRect();
      const at = [(event.clientX - frame.left) / frame.width, (event.clientY - frame.top) / frame.height];
      zoom(event.deltaY < 0 ? 1.25 : 0.8, at);
    }, { passive: false });
    this.box.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    const by = event.shiftKey ? 10 : 1;
    const steps = { ArrowUp: [-by, 0], ArrowDown: [by, 0], ArrowLeft: [0, -by], ArrowRight: [0, by] };
    if (event.key in steps && !this.flat && state.subject) {
      const { height, width } = state.subject;
      const { top, left } = view.cross ?? { top: height >> 1, left: width >> 1 };
      const inside = (value, count) => Math.min(count - 1, Math.max(0, value));
      const [down, right] = steps[event.key];
      view.cross = { top: inside(top + down, height), left: inside(left + right, width), height: 1, width: 1 };
      hover();
    } else if (event.key === "Enter" && view.cross) keep(view.cross);
    else if (event.key === "+" || event.key === "=") zoom(1.25, view.centre);
    else if (event.key === "-") zoom(0.8, view.centre);
    else if (event.key === "0") zoom(0, view.centre);
    else return;
    event.preventDefault();
  }

  mark() {
    this.marks.replaceChildren();
    if (this.flat || !state.subject) return;
    const { height, width } = state.subject;
    const percent = (value, whole) => `${(100 * value) / whole}%`;
    const place = (point, className, colour, badge) => {
      const single = point.height * point.width === 1;
      const at = single
        ? { left: percent(point.left + 0.5, width), top: percent(point.top + 0.5, height) }
        : { left: percent(point.left, width), top: percent(point.top, height),
            width: percent(point.width, width), height: percent(point.height, height) };
      const mark = h("div", { className: className || (single ? "mark pixel" : "mark box"), style: at });
      if (colour) mark.style.borderColor = colour;
      if (badge) mark.append(h("i", { style: { background: colour } }, badge));
      this.marks.append(mark);
    };
    view.points.forEach((point, place_) => place(point, null, point.colour, String(place_ + 1)));
    if (view.cross) place(view.cross, view.cross.height * view.cross.width === 1 ? "cross" : null, "#fff");
  }
}

const moved = (a, b) => Math.abs(a[0] - b[0]) + Math.abs(a[1] - b[1]) > 1;
const boxOf = (a, b) => ({
  top: Math.min(a[0], b[0]), left: Math.min(a[1], b[1]),
  height: Math.abs(a[0] - b[0]) + 1, width: Math.abs(a[1] - b[1]) + 1,
});

function zoom(by, at) {
  const before = view.zoom;
  view.zoom = by ? Math.min(32, Math.max(1, view.zoom * by)) : 1;
  const pull = 1 - before / view.zoom;
  view.centre = view.zoom === 1 ? [0.5, 0.5] : view.centre.map((value, axis) => value + (at[axis] - value) * pull);
  panes.forEach((pane) => pane.arrange());
}

const panes = [new Pane(0), new Pane(1)];
$("panes").append(...panes.map((pane) => pane.root));

function drawScale(legend) {
  const parts = [h("span", {}, legend.text)];
  if (legend.low !== undefined) {
    const stops = legend.map === "gray" ? ["#000", "#fff"] : state.maps[legend.map];
    const ramp = h("span", { className: "ramp", style: { background: `linear-gradient(90deg, ${stops.join()})` } });
    parts.push(h("span", {}, legend.low.toPrecision(2)), ramp, h("span", {}, legend.high.toPrecision(3)));
  }
  $("scale").replaceChildren(...parts);
}

function draw() {
  panes[1].root.hidden = view.count === 1;
  for (const pane of panes.slice(0, view.count)) pane.draw();
  drawSliders();
}

// -- sliders --------------------------------------------------------------------------------------------------

const bandName = (band) =>
  state.subject?.wavelengths ? `${state.subject.wavelengths[band].toFixed(1)} nm` : `band ${band + 1}`;

function drawSliders() {
  const subject = state.subject;
  $("band").value = view.band;
  $("band-told").textContent = subject ? `${bandName(view.band)} · ${view.band + 1}/${subject.bands}` : "";
  $("band").setAttribute("aria-valuetext", $("band-told").textContent);
  $("rgb").hidden = view.mode !== "false";
  $("stretch-field").hidden = view.mode !== "band";
  const count = stages();
  $("stage-field").hidden = count < 2;
  $("stage").max = count;
  $("stage").value = view.stage;
  $("stage-told").textContent = `${Math.min(view.stage, count)} of ${count}, x and θ`;
  const segmented = (subject?.layers ?? []).some((each) => each.segments.includes(true));
  $("opacity-field").hidden = !segmented;
  $("opacity").value = view.opacity;
  $("opacity-told").textContent = view.opacity ? `${view.opacity} % over the picture` : "hidden";
  for (const button of $("count").children) button.setAttribute("aria-pressed", Number(button.dataset.count) === view.count);
  drawMarker();
}

$("mode").onchange = () => { view.mode = $("mode").value; draw(); };
$("stretch").onchange = () => { view.stretch = $("stretch").checked; draw(); };
$("band").oninput = () => setBand(Number($("band").value));
$("stage").oninput = () => { view.stage = Number($("stage").value); draw(); drawClasses(); askSpectra(); explain(); };
$("opacity").oninput = () => { view.opacity = Number($("opacity").value); draw(); };
for (const button of $("count").children) {
  button.onclick = () => { view.count = Number(button.dataset.count); draw(); };
}

/** Another band; who moves the wavelength wants to see a band. */
function setBand(band) {
  view.band = Math.min(state.subject.bands - 1, Math.max(0, band));
  if (view.mode !== "band") { view.mode = "band"; $("mode").value = "band"; }
  draw();
}

document.addEventListener("keydown", (event) => {
  if (event.target.matches("input:not([type=range]), select, textarea") || !state?.subject) return;
  if (event.key === "[") setBand(view.band - 1);
  else if (event.key === "]") setBand(view.band + 1);
  else if (event.key === "?") $("help-box").showModal();
});

// -- spectra --------------------------------------------------------------------------------------------------

let spectra = []; // of every kept point, as the server tells them
let hovered = null;
let asking = false;

/** The spectrum under the pointer, one question at a time. */
async function hover() {
  panes.slice(0, view.count).forEach((pane) => pane.mark());
  if (asking) return;
  asking = true;
  let done;
  do {
    done = view.cross;
    hovered = null;
    if (done) {
      try { hovered = { point: done, told: (await say("/api/spectra", { points: [done], stage: view.stage }))[0] }; }
      catch { break; }
      drawSpectrum();
    }
  } while (done !== view.cross);
  asking = false;
  drawSpectrum();
}

async function askSpectra() {
  spectra = view.points.length ? await say("/api/spectra", { points: view.points, stage: view.stage }) : [];
  drawSpectrum();
}

function keep(box) {
  const place = view.points.length;
  if (place >= 64) { tell("64 points are kept already; remove some first", true); return; }
  const kind = box.height * box.width === 1 ? "point" : "box";
  const name = view.points.map((point) => point.name);
  let count = place + 1;
  while (name.includes(`${kind} ${count}`)) count++;
  view.points.push({ ...box, name: `${kind} ${count}`, colour: POINT_COLOURS[place % POINT_COLOURS.length] });
  view.active = place;
  drawPoints();
  askSpectra();
  explain();
}

/** What stands in the plot: the point under the pointer, else the active one, else all that are kept. */
function drawSpectrum() {
  const subject = state.subject;
  const shown = hovered ? [hovered] : view.points.map((point, place) => ({ point, told: spectra[place] }))
    .filter(({ told }, place) => told && (view.all || place === view.active));
  const lines = [];
  for (const { point, told } of shown) {
    subject?.layers.forEach((each, place) => {
      const values = told.layers[each.name];
      if (!values) return;
      const line = { ...LINE(each.name, place), ...values, name: each.name, point };
      if (view.all && !hovered) line.colour = point.colour;
      lines.push(line);
    });
  }
  $("plot").replaceChildren(chart(lines, subject, $("plot").clientWidth, $("plot").clientHeight, setBand));
  drawMarker();
  const first = shown[0];
  const truth = first?.told.layers[TRUTH]?.mean;
  $("lines").replaceChildren(...(view.all && !hovered ? [] : lines).map((line) => {
    const r = truth && line.name !== TRUTH ? h("span", { className: "r" }, `r = ${correlation(truth, line.mean).toFixed(3)}`) : null;
    return h("div", {}, chart.sample(line), h("span", {}, line.name), r);
  }));
  $("where").textContent = first ? whereIs(first.point) : "Move over a picture; click a pixel or draw a box to keep it.";
  drawProbabilities(first?.told);
}

const whereIs = ({ top, left, height, width }) =>
  height * width === 1 ? `row ${top}, column ${left}` : `rows ${top}–${top + height - 1}, columns ${left}–${left + width - 1}`;

function drawMarker() {
  const marker = $("plot").querySelector(".marker");
  if (!marker || !state.subject) return;
  const x = marker.ownerSVGElement.place(view.band);
  marker.setAttribute("x1", x);
  marker.setAttribute("x2", x);
}

function correlation(a, b) {
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [ma, mb] = [mean(a), mean(b)];
  let ab = 0, aa = 0, bb = 0;
  a.forEach((value, place) => {
    ab += (value - ma) * (b[place] - mb);
    aa += (value - ma) ** 2;
    bb += (b[place] - mb) ** 2;
  });
  return ab / Math.sqrt(aa * bb || 1);
}

function drawPoints() {
  const list = $("points");
  list.replaceChildren(...view.points.map((point, place) => {
    const badge = h("button", { className: "badge", type: "button", style: { background: point.colour },
      onclick: () => { view.active = place; drawPoints(); drawSpectrum(); explain(); } }, String(place + 1));
    badge.setAttribute("aria-label", `show ${point.name}`);
    const name = h("input", { value: point.name, maxLength: 80, oninput: () => { point.name = name.value; } });
    name.setAttribute("aria-label", `name of point ${place + 1}`);
    const size = point.height * point.width === 1 ? `${point.top}, ${point.left}` : `${point.height}×${point.width}`;
    const gone = h("button", { className: "gone", type: "button", onclick: () => forgetPoint(place) }, "✕");
    gone.setAttribute("aria-label", `remove ${point.name}`);
    return h("li", { className: place === view.active ? "active" : "" }, badge, name, h("span", {}, size), gone);
  }));
  for (const id of ["csv", "clear-points"]) $(id).disabled = !view.points.length;
  panes.slice(0, view.count).forEach((pane) => pane.mark());
}

function forgetPoint(place) {
  view.points.splice(place, 1);
  view.active = view.points.length ? Math.min(view.active, view.points.length - 1) : null;
  drawPoints();
  askSpectra();
  explain();
}

$("all-points").onchange = () => { view.all = $("all-points").checked; drawSpectrum(); };
$("clear-points").onclick = () => { view.points = []; view.active = null; drawPoints(); askSpectra(); explain(); };
$("csv").onclick = () => {
  const points = view.points.map(({ name, top, left, height, width }) => ({ name, top, left, height, width }));
  save(`/api/spectra.csv?stage=${view.stage}&points=${encodeURIComponent(JSON.stringify(points))}`, "spectra.csv");
};

function save(path, name) {
  h("a", { href: path, download: name }).click();
}

$("save-view").onclick = () => {
  const pane = panes[view.count - 1];
  const whole = h("canvas", { width: pane.canvas.width, height: pane.canvas.height });
  const context = whole.getContext("2d");
  context.drawImage(pane.canvas, 0, 0);
  context.globalAlpha = view.opacity / 100;
  context.drawImage(pane.over, 0, 0);
  whole.toBlob((blob) => {
    const link = URL.createObjectURL(blob);
    save(link, `${state.subject.name}-${view.of[view.count - 1]}-${view.mode}.png`.replace(/[^\w.-]+/g, "_"));
    setTimeout(() => URL.revokeObjectURL(link), 10000);
  });
};

// -- classes --------------------------------------------------------------------------------------------------

/** The layer whose classes are listed: the last shown picture that has any, else the first layer that has. */
function segmented(what) {
  const shown = view.of.slice(0, view.count).reverse().map(layer);
  return [...shown, ...(state.subject?.layers ?? [])].find((each) => each?.[what].includes(true));
}

function drawProbabilities(told) {
  const of = segmented("probabilities");
  const shares = of && told?.layers[of.name]?.classes;
  $("probabilities").hidden = !shares;
  if (!shares) return;
  const best = shares.map((share, place) => [share, place]).sort((a, b) => b[0] - a[0]).slice(0, 5);
  const rows = best.map(([share, place]) => {
    const { name, colour } = state.subject.classes[place];
    return h("div", {}, h("span", { title: name }, name),
      h("span", { className: "track" }, h("i", { style: { width: `${100 * share}%`, background: colour } })),
      h("span", {}, `${(100 * share).toFixed(1)} %`));
  });
  $("probabilities").replaceChildren(h("h2", {}, `Class probabilities, ${of.name}`), h("div", { className: "bars" }, ...rows));
}

async function drawClasses() {
  const of = segmented("segments");
  $("classes").hidden = !of;
  if (!of) return;
  const count = async (each) => {
    const stage = Math.min(view.stage, each.stages);
    if (!each.segments[stage - 1]) return null;
    const counts = new Uint32Array(256);
    for (const value of await fetched(`/api/classes?of=${encodeURIComponent(each.name)}&stage=${stage}`)) counts[value]++;
    return counts;
  };
  const truth = layer(TRUTH)?.segments[0] && of.name !== TRUTH ? await count(layer(TRUTH)) : null;
  const own = await count(of);
  const rows = state.subject.classes.map((each, place) => [each, place, own?.[place] ?? 0, truth?.[place] ?? 0])
    .filter(([, , here, there]) => here || there).sort((a, b) => b[2] - a[2]);
  const head = h("tr", {}, h("th", {}, "class"), h("th", {}, "pixels"), h("th", {}, "share"), truth ? h("th", {}, "in truth") : null);
  const whole = state.subject.height * state.subject.width;
  const body = rows.map(([{ name, colour }, place, here, there]) => {
    const button = h("button", { className: "class", type: "button", title: "show or hide it over the picture", onclick: () => {
      if (!view.hidden.delete(place)) view.hidden.add(place);
      button.setAttribute("aria-pressed", !view.hidden.has(place));
      draw();
    } }, h("i", { style: { background: colour } }), name);
    button.setAttribute("aria-pressed", !view.hidden.has(place));
    return h("tr", {}, h("td", {}, button), h("td", {}, here.toLocaleString("en")),
      h("td", {}, `${((100 * here) / whole).toFixed(1)} %`), truth ? h("td", {}, there.toLocaleString("en")) : null);
  });
  $("classes").replaceChildren(h("h2", {}, `Classes, ${of.name}`), h("table", {}, h("thead", {}, head), h("tbody", {}, ...body)));
}

/** Where the network looks, of the active point: both branches at the stage of the slider. */
function explain() {
  const of = [...view.of.slice(0, view.count).reverse().map(layer), ...(state.subject?.layers ?? [])].find((each) => each?.blocks.length);
  const point = view.points[view.active];
  $("attention").hidden = !of || !point;
  if (!of || !point) return;
  const ways = { association: "super-tokens it belongs to", attention: "super-tokens they attend to", sources: "pixels it receives from" };
  const select = h("select", { onchange: () => { view.way = select.value; explain(); } },
    ...Object.entries(ways).map(([value, text]) => h("option", { value, selected: value === view.way }, text)));
  select.setAttribute("aria-label", "what to show of it");
  const stage = Math.min(view.stage, of.stages);
  const here = of.blocks.map((block, place) => ({ ...block, place })).filter((block) => block.stage === stage);
  // The first block of a branch at each size.
  const shown = [2, 1].flatMap((node) => ["cube", "class"].map((branch) => here.find((block) => block.node === node && block.branch === branch)));
  const { top, left, height, width } = point;
  const figures = shown.filter(Boolean).map((block) => {
    const query = new URLSearchParams({ of: of.name, block: block.place, what: view.way, top, left, height, width, v: state.version });
    const words = `${block.branch} branch, ${block.node === 1 ? "full size" : "half size"}`;
    const image = h("img", { src: `/api/attention?${query}`, alt: `${words}: ${ways[view.way]}` });
    image.style.setProperty("--ratio", `${state.subject.width} / ${state.subject.height}`);
    return h("figure", {}, image, h("figcaption", {}, words));
  });
  const nothing = h("p", { className: "hint" }, `Stage ${stage} has no cross-aggregation; move the stage slider.`);
  $("attention").replaceChildren(h("div", { className: "head" }, h("h2", {}, `Where ${of.name} looks from ${point.name}`)), select,
    figures.length ? h("div", { className: "looks" }, ...figures) : nothing);
}

// -- left: open -----------------------------------------------------------------------------------------------

const tabs = [...document.querySelectorAll("[role=tab]")];
function choose(tab) {
  for (const each of tabs) {
    const chosen = each === tab;
    each.setAttribute("aria-selected", chosen);
    each.tabIndex = chosen ? 0 : -1;
    $(each.getAttribute("aria-controls")).hidden = !chosen;
  }
  const room = $(tab.getAttribute("aria-controls")).querySelector(".method-here");
  $("method").hidden = !room;
  if (room) room.append($("method"));
}
tabs.forEach((tab, place) => {
  tab.onclick = () => choose(tab);
  tab.onkeydown = (event) => {
    const to = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!to) return;
    const next = tabs[(place + to + tabs.length) % tabs.length];
    choose(next);
    next.focus();
  };
});
choose(tabs[0]);

async function upload(files) {
  let last = null;
  for (const file of files) {
    if (file.size > state.limit_mb * 1048576) {
      tell(`${file.name} is larger than ${state.limit_mb} MB, the most this explorer takes; crop it, or start it with a larger --limit`, true);
      return;
    }
    tell(`${file.name} is being read …`);
    try {
      last = await (await ask(`/api/files/${encodeURIComponent(file.name)}`, { method: "PUT", body: file })).json();
    } catch { await refresh(); return; }
  }
  await refresh();
  if (last?.problem) { tell(last.problem, true); return; }
  const { measurement, mask, truth } = state.suggested;
  const whole = Object.values(state.suggested).some((role) => role.file === last.name);
  if (last.looks_like === "weights") tell(`${last.name}: choose it under Decode`);
  else if (whole && ((measurement && mask) || (!measurement && truth))) await openChosen(); // nothing left to ask
  else tell(measurement ? "now its mask" : "say below what is what");
}

$("chosen").onchange = () => upload([...$("chosen").files]).finally(() => { $("chosen").value = ""; });
for (const name of ["dragover", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files.length) { choose(tabs[0]); upload([...event.dataTransfer.files]); }
  });
}
document.addEventListener("dragleave", () => $("drop").classList.remove("over"));

function drawFiles() {
  $("found").replaceChildren(...state.files.map((file) => {
    const inside = (file.arrays ?? []).map((array) => {
      const range = array.min === null ? "" : `, ${array.min.toPrecision(3)} to ${array.max.toPrecision(3)}`;
      const broken = array.nan + array.inf ? `, ${array.nan + array.inf} NaN or infinite` : "";
      return h("li", {}, `${array.key}: ${array.shape.join("×")} ${array.dtype}${range}${broken}; looks like a ${array.looks_like}`);
    });
    const { wavelengths } = file;
    if (wavelengths?.number) inside.push(h("li", {}, `wavelengths: ${wavelengths.number}, ${wavelengths.first.toFixed(0)} to ${wavelengths.last.toFixed(0)} nm`));
    return h("div", { className: "file" }, h("b", {}, file.name), ` ${file.problem ? "" : file.format}`,
      file.problem ? h("div", { className: "bad" }, file.problem) : h("ul", {}, ...inside));
  }));
  const arrays = state.files.flatMap((file) => (file.arrays ?? []).map((array) => ({ file: file.name, key: array.key, shape: array.shape })));
  $("roles").hidden = !arrays.length;
  for (const role of ["measurement", "mask", "truth", "labels"]) {
    const select = $("roles").elements[role];
    const suggested = state.suggested[role];
    select.replaceChildren(h("option", { value: "" }, role === "mask" ? "beside the measurement" : "none"),
      ...arrays.map(({ file, key, shape }) => h("option", {
        value: JSON.stringify({ file, key }), selected: suggested?.file === file && suggested?.key === key,
      }, `${file} › ${key} ${shape.join("×")}`)));
  }
  const fits = state.fits.slice(0, 6).map(({ bands, step }) => h("button", { type: "button", onclick: () => {
    Object.assign($("roles").elements.step, { value: step });
    Object.assign($("roles").elements.bands, { value: bands });
  } }, `${bands} bands, step ${step}`));
  $("fits").replaceChildren(...(fits.length ? [h("span", {}, "Cameras that fit:"), ...fits] : []));
}

async function openChosen() {
  const said = {};
  for (const role of ["measurement", "mask", "truth", "labels"]) {
    const { value } = $("roles").elements[role];
    if (value) said[role] = JSON.parse(value);
  }
  for (const name of ["step", "bands", "bits", "wavelengths"]) said[name] = $("roles").elements[name].value.trim();
  await opened(say("/api/open", said));
}
$("roles").onsubmit = (event) => { event.preventDefault(); openChosen().catch(() => {}); };
$("forget").onclick = () => opened(say("/api/forget")).catch(() => {});

async function opened(promise) {
  await promise;
  await refresh();
  tell(state.subject ? `${state.subject.name} is open` : "");
}

function drawSamples() {
  $("samples").replaceChildren(...state.samples.map(({ name, title }) => {
    const button = h("button", { type: "button", onclick: () => opened(say("/api/open", { sample: name })).catch(() => {}) }, title);
    button.setAttribute("aria-pressed", title.endsWith(` ${Number(state.subject?.name.split("_")[1])}`));
    return button;
  }));
}

// -- left: decode and simulate --------------------------------------------------------------------------------

function options(select, groups) {
  const before = select.value;
  select.replaceChildren(...groups.filter(([, entries]) => entries.length).map(([label, entries]) =>
    h("optgroup", { label }, ...entries.map((entry) => h("option", { value: entry, selected: entry === before }, entry)))));
}

function drawMethods() {
  const first = !$("method-name").options.length;
  options($("method-name"), [["networks", state.weights], ["training-free", state.methods]]);
  if (first) $("method-name").value = state.fitting ?? "gap-tv";
  options($("engine"), [["computed by", state.engines]]);
  methodChanged();
}

function methodChanged() {
  const network = state.weights.includes($("method-name").value);
  $("engine").disabled = !network;
  $("iterations").disabled = network;
  $("beside").disabled = $("method-name").value === "gap-tv";
}
$("method-name").onchange = methodChanged;

const method = () => ({
  method: $("method-name").value, engine: $("engine").value, beside: $("beside").checked,
  iterations: $("iterations").disabled ? "" : $("iterations").value.trim(),
});

$("run").onclick = async () => { await say("/api/run", method()).then(watch).catch(() => {}); };
$("try").onclick = () => simulate();
$("cancel").onclick = () => say("/api/cancel").catch(() => {});

const camera = $("camera").elements;
function cameraSaid() {
  const said = { scene: camera.scene.value, mask: camera.mask.value, size: Number(camera.size.value) };
  for (const name of ["mask_seed", "read_noise", "step", "shift_down", "shift_right"]) said[name] = Number(camera[name].value);
  return { ...said, photons: PHOTONS[Number(camera.photons.value)] };
}

function drawCamera() {
  const said = cameraSaid();
  const told = { ...said, photons: said.photons || "no shot noise", step: `${said.step} pixels per band`, read_noise: said.read_noise || "none" };
  for (const name of ["mask_seed", "photons", "read_noise", "step", "shift_down", "shift_right"]) {
    camera[name].parentElement.querySelector("output").textContent = told[name];
    camera[name].setAttribute("aria-valuetext", told[name]);
  }
}

async function simulate() {
  if (running) await say("/api/cancel");
  while (running) await new Promise((resume) => setTimeout(resume, 50));
  await say("/api/simulate", { ...cameraSaid(), ...method(), beside: $("beside").checked && !$("live").checked }).then(watch).catch(() => {});
}

let waiting = null;
$("camera").oninput = () => {
  drawCamera();
  clearTimeout(waiting);
  if ($("live").checked) waiting = setTimeout(simulate, 300);
};
$("camera").onsubmit = (event) => { event.preventDefault(); simulate(); };

function drawScenes() {
  const before = camera.scene.value;
  const open = layer(TRUTH) ? [{ name: "open", title: "what is open" }] : [];
  camera.scene.replaceChildren(...[...state.samples, ...open].map(({ name, title }) => h("option", { value: name, selected: name === before }, title)));
  const masks = state.files.filter((file) => (file.arrays ?? []).some((array) => array.looks_like === "mask"));
  const mask = camera.mask.value;
  camera.mask.replaceChildren(h("option", { value: "" }, "random"),
    ...masks.map(({ name }) => h("option", { value: name, selected: name === mask }, name)));
}

function drawTrials() {
  const { trials } = state;
  $("trials").hidden = !trials.length;
  if (!trials.length) return;
  const names = { step: "step", photons: "photons", read_noise: "read-out", mask_seed: "mask", shift_down: "rows", shift_right: "columns", size: "part", method: "", scene: "" };
  const changed = (trial, before) => {
    if (!before) return trial.method;
    const words = Object.keys(names).filter((name) => trial[name] !== before[name])
      .map((name) => `${names[name]} ${name === "photons" && !trial[name] ? "∞" : trial[name]}`.trim());
    return words.join(", ") || "the same";
  };
  const rows = trials.map((trial, place) => h("tr", {}, h("td", { title: changed(trial, trials[place - 1]) }, `${place + 1} ${changed(trial, trials[place - 1])}`),
    h("td", {}, number(trial.psnr_db, 2)), h("td", {}, number(trial.miou_present, 3)))).reverse().slice(0, 12);
  const head = h("tr", {}, h("th", {}, "change"), h("th", {}, "PSNR"), h("th", {}, "mIoU"));
  $("trials").replaceChildren(h("h2", {}, "PSNR and mIoU, trial by trial"), trialsChart(trials, $("left").clientWidth - 28),
    h("table", {}, h("thead", {}, head), h("tbody", {}, ...rows)));
}

let running = false;
/** Follow the computation until it ends. */
async function watch() {
  if (running) return;
  running = true;
  for (const id of ["run", "try"]) $(id).disabled = id === "run";
  try {
    for (;;) {
      const { job } = await (await ask("/api/job")).json();
      if (!job) break;
      $("job").hidden = false;
      $("job-step").textContent = job.state === "waiting" ? "another visitor is computing; waiting …" : `${job.step}, ${job.seconds.toFixed(0)} s`;
      if (job.total) $("bar").value = job.done / job.total;
      else $("bar").removeAttribute("value");
      if (!["waiting", "running"].includes(job.state)) {
        tell(job.message, job.state === "failed");
        break;
      }
      await new Promise((resume) => setTimeout(resume, 150));
    }
  } finally {
    running = false;
    $("job").hidden = true;
    $("run").disabled = false;
    await refresh();
  }
}

function drawResults() {
  const results = (state.subject?.layers ?? []).map((each, place) => [each, place]).filter(([each]) => each.name !== TRUTH);
  $("results").replaceChildren(...results.map(([each, place]) => {
    const { metrics } = each;
    const figures = [["PSNR", metrics.psnr_db && `${metrics.psnr_db.toFixed(2)} dB`], ["SSIM", metrics.ssim && metrics.ssim.toFixed(3)],
      ["SAM", metrics.sam_deg && `${metrics.sam_deg.toFixed(1)}°`], ["mIoU", metrics.miou_present !== undefined && metrics.miou_present.toFixed(3)],
      ["residual", metrics.data_residual !== undefined && `${(100 * metrics.data_residual).toFixed(2)} %`], ["time", each.seconds && `${each.seconds.toFixed(1)} s`]];
    return h("div", { className: "result" }, h("span", { className: "swatch", style: { background: LINE(each.name, place).colour } }), h("b", {}, each.name),
      h("div", { className: "figures" }, ...figures.filter(([, value]) => value).map(([name, value]) => h("span", {}, name, h("b", {}, value)))));
  }));
  if (!results.length) {
    const has = state.subject?.detector;
    $("results").replaceChildren(h("p", { className: "hint" }, has ? "None yet." : "There is no measurement to decode: open one, or simulate it."));
  }
  $("run").disabled = running || !state.subject?.detector;
}

// -- download -------------------------------------------------------------------------------------------------

$("help").onclick = () => $("help-box").showModal();
$("download").onclick = async () => {
  const names = (state.subject?.layers ?? []).map((each) => each.name).filter((name) => name !== TRUTH);
  $("download-of").replaceChildren(...names.map((name) => h("option", { value: name, selected: name === view.of[view.count - 1] }, name)));
  $("downloads").showModal();
  await listDownloads();
};
$("download-of").onchange = () => listDownloads();

async function listDownloads() {
  const of = $("download-of").value;
  if (!of) { $("download-files").replaceChildren(h("li", {}, "Decode first: there is no result yet.")); return; }
  $("download-files").replaceChildren(h("li", {}, "being written …"));
  const query = `?of=${encodeURIComponent(of)}`;
  const files = await (await ask(`/api/downloads${query}`)).json();
  const entry = (name, size, words) => h("li", {}, h("a", { href: `/api/download/${name}${query}`, download: name }, words ?? name), h("span", {}, size));
  const size = (bytes) => (bytes > 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${Math.ceil(bytes / 1e3)} kB`);
  $("download-files").replaceChildren(entry("everything.zip", "", "everything as .zip"), ...files.map(({ name, bytes }) => entry(name, size(bytes))));
}

// -- begin ----------------------------------------------------------------------------------------------------

/** Ask what there is and draw all of it. */
async function refresh() {
  const before = state;
  state = await (await ask("/api/state")).json();
  const subject = state.subject;
  const same = before?.subject && subject && ["name", "bands", "height", "width", "wavelengths"].every((key) => String(before.subject[key]) === String(subject[key]));
  if (!same && subject) {
    view.band = Math.floor(subject.bands / 2);
    view.rgb = [5, 3, 1].map((sixth) => Math.floor((sixth * subject.bands) / 6));
    Object.assign(view, { points: [], active: null, cross: null, zoom: 1, centre: [0.5, 0.5] });
    view.hidden = new Set(subject.classes[0]?.name === "background" ? [0] : []); // or it would lie over most scenes
    hovered = null;
    $("band").max = subject.bands - 1;
    $("band").disabled = subject.bands < 2;
    const lights = subject.lights.length ? subject.lights : ["#444", "#bbb"];
    $("band").style.background = `linear-gradient(90deg, ${lights.join()})`;
    [...$("rgb").querySelectorAll("select")].forEach((select, place) => {
      select.replaceChildren(...Array.from({ length: subject.bands }, (_, band) => h("option", { value: band, selected: band === view.rgb[place] }, bandName(band))));
      select.onchange = () => { view.rgb[place] = Number(select.value); draw(); };
    });
  }
  const names = (subject?.layers ?? []).map((each) => each.name);
  const fresh = names.filter((name) => !before?.subject?.layers.some((each) => each.name === name) && name !== TRUTH);
  if (!names.includes(view.of[0])) view.of[0] = names[0] ?? TRUTH;
  if (fresh.length || !names.includes(view.of[1])) view.of[1] = fresh[0] ?? names.find((name) => name !== TRUTH) ?? names[0] ?? TRUTH;
  if (fresh.length && !names.includes(TRUTH) && names.length > 1) view.of[0] = names.find((name) => name !== view.of[1]);
  if (fresh.length || !same) view.stage = stages();
  if (fresh.length || !same) view.count = names.length > 1 ? 2 : 1;
  for (const pane of panes) {
    pane.select.hidden = !names.length;
    pane.select.replaceChildren(...names.map((name) => h("option", { value: name, selected: name === view.of[pane.place] }, name)));
  }
  const usable = { error: subject?.has_truth, angle: subject?.has_truth, trust: subject?.detector, measurement: subject?.detector, residual: subject?.detector,
    confidence: (subject?.layers ?? []).some((each) => each.probabilities.includes(true)) };
  for (const option of $("mode").querySelectorAll("option")) option.disabled = option.value in usable && !usable[option.value];
  if ($("mode").selectedOptions[0].disabled) { view.mode = "colour"; $("mode").value = "colour"; }
  if (subject) {
    const range = subject.wavelengths ? `, ${subject.wavelengths[0].toFixed(0)}–${subject.wavelengths.at(-1).toFixed(0)} nm` : "";
    const notes = subject.notes.length ? ` · ${subject.notes.join(" · ")}` : "";
    const step = subject.step === null || subject.step === undefined ? "" : ` · step ${subject.step}`;
    $("subject").replaceChildren(h("strong", {}, subject.name), ` ${subject.height}×${subject.width} · ${subject.bands} bands${range}${step}${notes}`);
    $("subject").title = $("subject").textContent;
  }
  const problem = state.files.find((file) => !file.name && file.problem);
  if (!before && problem) tell(problem.problem, true);
  drawSamples();
  drawFiles();
  drawMethods();
  drawScenes();
  drawCamera();
  drawTrials();
  drawResults();
  draw();
  drawPoints();
  explain();
  await Promise.all([askSpectra(), drawClasses()]);
}

await refresh();
if (state.job && ["waiting", "running"].includes(state.job.state)) watch();
document.body.dataset.ready = "yes";
