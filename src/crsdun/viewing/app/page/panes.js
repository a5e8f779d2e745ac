// The two pictures, with classes and marks over them.
import { fetched } from "./api.js";
import { drawScale, short } from "./contrast.js";
import { showMap } from "./cursor.js";
import { $, fixed, h, isNumber, save } from "./dom.js";
import { emit, isMap, isPixel, layer, on, state, TRUTH, view } from "./state.js";

const ON_DETECTOR = ["measurement", "residual"];

/** One of the two pictures, with classes and marks over it. */
class Pane {
  constructor(index) {
    this.index = index;
    this.select = h("select", { onchange: () => { view.layers[index] = this.select.value; emit("view"); } });
    this.select.setAttribute("aria-label", index ? "second picture shows" : "first picture shows");
    this.figures = h("span");
    this.canvas = h("canvas");
    this.over = h("canvas", { className: "over" });
    this.marks = h("div");
    this.stack = h("div", { className: "stack" }, this.canvas, this.over, this.marks);
    this.nothing = h("div", { className: "nothing", hidden: true });
    this.box = h("div", { className: "view", tabIndex: 0 }, this.stack, this.nothing);
    this.box.setAttribute("role", "application");
    this.root = h("div", { className: "pane" }, h("div", { className: "title" }, this.select, this.figures), this.box);
    this.busy = false;
    new ResizeObserver(() => this.arrange()).observe(this.box);
    this.listen();
  }

  /** Draw the current view; while a picture is on its way, only the latest request waits. */
  async draw() {
    if (this.busy) { this.again = true; return; }
    this.busy = true;
    do {
      this.again = false;
      try { await this.drawOnce(); } catch (error) { this.explain(error.message); }
    } while (this.again);
    this.busy = false;
  }

  async drawOnce() {
    const shown = layer(view.layers[this.index]);
    if (!shown && state.scene?.detector) { await this.drawMeasurement(); return; }
    if (!shown) { this.explain("Choose a sample, or drop a file."); return; }
    const { version } = state;
    const stage = Math.min(view.stage, shown.stages);
    const query = stageQuery(shown);
    const path = await lockedPath(this.index);
    const { image, legend } = await fetched(path);
    const flat = ON_DETECTOR.includes(view.mode) && !(view.mode === "residual" && shown.name === TRUTH);
    this.flat = flat;
    const segments = !flat && view.opacity > 0 && shown.segments[stage - 1];
    const classes = segments ? await fetched(`/api/classes?${query}`) : null;
    if (version !== state.version) { this.again = true; return; } // what arrived belongs to what was open before
    this.nothing.hidden = true;
    this.size(image.width, image.height);
    this.canvas.getContext("2d").drawImage(image, 0, 0);
    this.paint(classes, image.width, image.height);
    this.legend = legend;
    const { psnr_db: psnr, miou_present: miou } = shown.stage_metrics[stage - 1] ?? {};
    const figures = [isNumber(psnr) && `${psnr.toFixed(2)} dB`, isNumber(miou) && `mIoU ${fixed(miou, 3)}`];
    this.figures.textContent = figures.filter(Boolean).join(" · ");
    this.box.setAttribute("aria-label", `${shown.name}, ${legend.text}. Arrow keys move the cross, Enter keeps the point.`);
    this.box.dataset.shown = path;
    this.mark();
    if (this.index === view.count - 1) drawScale(legend);
  }

  /** All there is to see before anything is decoded. */
  async drawMeasurement() {
    const path = `/api/picture?mode=measurement${scaleQuery()}`;
    const { image, legend } = await fetched(path);
    this.legend = legend;
    this.flat = true;
    this.nothing.hidden = true;
    this.size(image.width, image.height);
    this.canvas.getContext("2d").drawImage(image, 0, 0);
    this.paint(null, image.width, image.height);
    this.figures.textContent = "the coded measurement; decode it to see the scene";
    this.box.setAttribute("aria-label", legend.text);
    this.box.dataset.shown = path;
    this.mark();
    drawScale(legend);
  }

  explain(text) {
    this.nothing.textContent = text;
    this.nothing.hidden = false;
    this.figures.textContent = "";
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
    const painted = new Uint32Array(pixels.data.buffer);
    const colours = new Uint32Array(256);
    state.scene.classes.forEach(({ colour }, index) => {
      const value = parseInt(colour.slice(1), 16);
      const [red, green, blue] = [value >> 16, (value >> 8) & 255, value & 255];
      if (!view.hidden.has(index)) colours[index] = ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
    });
    for (let pixel = 0; pixel < classes.length; pixel++) painted[pixel] = colours[classes[pixel]];
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
  pixel(event, evenOnDetector = false) {
    const frame = this.stack.getBoundingClientRect();
    const column = Math.floor(((event.clientX - frame.left) / frame.width) * this.canvas.width);
    const row = Math.floor(((event.clientY - frame.top) / frame.height) * this.canvas.height);
    const inside = row >= 0 && column >= 0 && row < this.canvas.height && column < this.canvas.width;
    return inside && (evenOnDetector || !this.flat) ? [row, column] : null;
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
      const place = this.pixel(event, true);
      if (place && (isMap() || this.flat)) this.showValue(...place);
      const here = this.pixel(event);
      if (!here) return;
      view.cross = from && moved(from, here) ? boxOf(from, here) : { top: here[0], left: here[1], height: 1, width: 1 };
      emit("cross");
    });
    this.box.addEventListener("pointerleave", () => { if (!from) { view.cross = null; emit("cross"); } });
    this.box.addEventListener("pointerdown", (event) => {
      start = { x: event.clientX, y: event.clientY, centre: [...view.centre] };
      from = event.shiftKey ? null : this.pixel(event);
      if (from) this.box.setPointerCapture(event.pointerId);
    });
    this.box.addEventListener("pointerup", (event) => {
      const here = this.pixel(event) ?? (view.cross && [view.cross.top, view.cross.left]);
      if (from && here) {
        const isBox = view.cross && !isPixel(view.cross);
        emit("keep", isBox ? view.cross : { top: here[0], left: here[1], height: 1, width: 1 });
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
    if (event.key in steps && event.ctrlKey) {
      view.centre = view.centre.map((value, axis) => Math.min(1, Math.max(0, value + (0.1 * Math.sign(steps[event.key][1 - axis])) / view.zoom)));
      panes.forEach((pane) => pane.arrange());
    } else if (event.key in steps && !this.flat && state.scene) {
      const { height, width } = state.scene;
      const { top, left } = view.cross ?? { top: height >> 1, left: width >> 1 };
      const inside = (value, count) => Math.min(count - 1, Math.max(0, value));
      const [down, right] = steps[event.key];
      view.cross = { top: inside(top + down, height), left: inside(left + right, width), height: 1, width: 1 };
      emit("cross");
      if (isMap()) this.showValue(view.cross.top, view.cross.left);
    } else if (event.key === "Enter" && view.cross) emit("keep", view.cross);
    else if (event.key === "+" || event.key === "=") zoom(1.25, view.centre);
    else if (event.key === "-") zoom(0.8, view.centre);
    else if (event.key === "0") zoom(0, view.centre);
    else return;
    event.preventDefault();
  }

  /** The value of a map at a pixel; the truth, which has none, shows that of the picture beside it. */
  showValue(top, left) {
    const pane = this.legend?.low === null ? panes[view.count - 1] : this;
    if (pane.box.dataset.shown) showMap(pane.box.dataset.shown, top, left);
  }

  mark() {
    this.marks.replaceChildren();
    if (this.flat || !state.scene) return;
    const { height, width } = state.scene;
    const percent = (value, whole) => `${(100 * value) / whole}%`;
    const place = (point, className, colour, badge) => {
      const single = isPixel(point);
      const at = single
        ? { left: percent(point.left + 0.5, width), top: percent(point.top + 0.5, height) }
        : { left: percent(point.left, width), top: percent(point.top, height),
            width: percent(point.width, width), height: percent(point.height, height) };
      const mark = h("div", { className: className || (single ? "mark pixel" : "mark box"), style: at });
      if (colour) mark.style.borderColor = colour;
      if (badge) mark.append(h("i", { style: { background: colour } }, badge));
      this.marks.append(mark);
    };
    view.points.forEach((point, index) => place(point, null, point.colour, String(index + 1)));
    if (view.cross) place(view.cross, isPixel(view.cross) ? "cross" : null, "#fff");
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

const stageQuery = (shown) => `layer=${encodeURIComponent(shown.name)}&stage=${Math.min(view.stage, shown.stages)}`;
const scaleQuery = (low = view.low, high = view.high) =>
  (low === null ? "" : `&low=${low}&high=${high}`) + (view.colours ? `&colours=${view.colours}` : "");

/** Where the picture of a pane is, between limits that are its own. */
function ownPath(index) {
  const shown = layer(view.layers[index]);
  const bands = view.mode === "false" ? view.rgb.join(",") : view.band;
  const needsBand = ["band", "false", "difference"].includes(view.mode);
  return `/api/picture?${stageQuery(shown)}&mode=${view.mode}` + (needsBand ? `&bands=${bands}&stretch=${view.stretch ? 1 : 0}` : "") +
    (view.mode === "difference" ? `&other=${encodeURIComponent(view.layers[1 - index])}` : "");
}

/** Where it is between the limits that both panes have: those that were chosen, or else the widest of the two. */
async function lockedPath(index) {
  const own = ownPath(index);
  const shared = ["colour", "false"].includes(view.mode) || (view.mode === "band" && layer(TRUTH)); // by the server
  if (shared || view.low !== null || view.count === 1 || !layer(view.layers[1 - index])) return own + scaleQuery();
  const legends = await Promise.all([0, 1].map(async (each) => (await fetched(ownPath(each) + scaleQuery())).legend));
  if (legends.some(({ low }) => low === null)) return own + scaleQuery();
  const [low, high] = [Math.min(...legends.map((each) => each.low)), Math.max(...legends.map((each) => each.high))];
  return legends[index].low === low && legends[index].high === high ? own + scaleQuery() : own + scaleQuery(low, high);
}

on("view", () => {
  panes[1].root.hidden = view.count === 1;
  for (const pane of panes.slice(0, view.count)) pane.draw();
});
on("points cross", () => panes.slice(0, view.count).forEach((pane) => pane.mark()));

on("state", () => {
  const names = (state.scene?.layers ?? []).map((each) => each.name);
  for (const { select, index } of panes) {
    select.hidden = !names.length;
    select.replaceChildren(...names.map((name) => h("option", { value: name, selected: name === view.layers[index] }, name)));
  }
});

/** The pictures as they are seen, side by side: title, crop, classes, marks and scale. */
function composite() {
  const shown = panes.slice(0, view.count), ratio = Math.max(2, devicePixelRatio), gap = 10, line = 22;
  const style = getComputedStyle(document.body), ink = style.color;
  const { clientWidth: W, clientHeight: H } = shown[0].box;
  const whole = h("canvas", { width: ratio * (shown.length * (W + gap) - gap), height: ratio * (H + 2 * line) });
  const context = whole.getContext("2d");
  context.scale(ratio, ratio);
  Object.assign(context, { fillStyle: style.backgroundColor, imageSmoothingEnabled: false, font: "13px system-ui, sans-serif", textBaseline: "middle" });
  context.fillRect(0, 0, whole.width, whole.height);
  shown.forEach((pane, index) => {
    const left = index * (W + gap);
    context.fillStyle = ink;
    context.fillText([view.layers[index], pane.figures.textContent].filter(Boolean).join(" · "), left, line / 2, W);
    context.save();
    context.beginPath();
    context.rect(left, line, W, H);
    context.clip();
    context.translate(left, line);
    const place = ["left", "top", "width", "height"].map((name) => parseFloat(pane.stack.style[name]));
    context.drawImage(pane.canvas, ...place);
    context.globalAlpha = view.opacity / 100;
    context.drawImage(pane.over, ...place);
    context.globalAlpha = 1;
    if (!pane.flat) drawMarks(context, place);
    context.restore();
  });
  const { legend } = shown.at(-1);
  const limits = legend.low === null ? "" : `   ${short(legend.low)} … ${short(legend.high)}`;
  const text = `${legend.text}${view.mode === "band" || view.mode === "difference" ? `, ${$("band-value").textContent}` : ""}${limits}`;
  Object.assign(context, { fillStyle: ink, font: "12px system-ui, sans-serif" });
  context.fillText(text, 0, H + 1.5 * line);
  if (legend.low !== null) {
    const start = context.measureText(text).width + 12, ramp = context.createLinearGradient(start, 0, start + 120, 0);
    state.maps[legend.map].forEach((stop, index, { length }) => ramp.addColorStop(index / (length - 1), stop));
    context.fillStyle = ramp;
    context.fillRect(start, H + 1.5 * line - 5, 120, 10);
  }
  return whole;
}

function drawMarks(context, [left, top, width, height]) {
  const { scene } = state;
  view.points.forEach((point, index) => {
    const x = left + (point.left / scene.width) * width, y = top + (point.top / scene.height) * height;
    const [across, down] = [(point.width / scene.width) * width, (point.height / scene.height) * height];
    Object.assign(context, { strokeStyle: point.colour, lineWidth: 2, fillStyle: point.colour, font: "700 12px system-ui, sans-serif" });
    context.beginPath();
    if (isPixel(point)) context.arc(x + across / 2, y + down / 2, 5, 0, 2 * Math.PI);
    else context.rect(x, y, across, down);
    context.stroke();
    context.fillText(String(index + 1), x + across + 5, y - 5);
  });
}

$("save-view").onclick = () => {
  composite().toBlob((blob) => {
    const link = URL.createObjectURL(blob);
    save(link, `${[state.scene.name, ...view.layers.slice(0, view.count), view.mode].join("-")}.png`.replace(/[^\w.-]+/g, "_"));
    setTimeout(() => URL.revokeObjectURL(link), 10000);
  });
};
