// The two pictures, with classes and marks over them.
import { fetched } from "./api.js";
import { drawScale } from "./contrast.js";
import { showMap } from "./cursor.js";
import { $, fixed, h, isNumber } from "./dom.js";
import { listen } from "./gestures.js";
import { drawCross, drawRegions } from "./marks.js";
import { emit, layer, on, state, TRUTH, UNKNOWN, view } from "./state.js";

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
    this.regions = h("div");
    this.cross = h("div");
    this.stack = h("div", { className: "stack" }, this.canvas, this.over, this.regions, this.cross);
    this.nothing = h("div", { className: "nothing", hidden: true });
    this.box = h("div", { className: "view", tabIndex: 0 }, this.stack, this.nothing);
    this.box.setAttribute("role", "application");
    this.root = h("div", { className: "pane" }, h("div", { className: "title" }, this.select, this.figures), this.box);
    this.busy = false;
    new ResizeObserver(() => this.arrange()).observe(this.box);
    listen(this);
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
    this.paint(classes, image.width, image.height, shown.name !== TRUTH);
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

  /** `decides`: the classes are estimated, and grey where they are unknown; what nobody has labelled stays clear. */
  paint(classes, width, height, decides = false) {
    const context = this.over.getContext("2d");
    context.clearRect(0, 0, width, height);
    this.over.style.opacity = view.opacity / 100;
    if (!classes) return;
    const pixels = context.createImageData(width, height);
    const painted = new Uint32Array(pixels.data.buffer);
    const colours = new Uint32Array(256);
    const give = (colour, index) => {
      const value = parseInt(colour.slice(1), 16);
      const [red, green, blue] = [value >> 16, (value >> 8) & 255, value & 255];
      if (!view.hidden.has(index)) colours[index] = ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
    };
    state.scene.classes.forEach(({ colour }, index) => give(colour, index));
    if (decides) give(state.scene.unknown, UNKNOWN);
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

  /** Where a pointer is, in fractions of the picture from its upper left corner. */
  fraction({ clientX, clientY }) {
    const frame = this.stack.getBoundingClientRect();
    return [(clientX - frame.left) / frame.width, (clientY - frame.top) / frame.height];
  }

  /** The same in pixels, [x, y]. */
  vertex(event) {
    const [across, down] = this.fraction(event);
    return [across * this.canvas.width, down * this.canvas.height];
  }

  /** Pixels of the screen for each of the picture. */
  scale() {
    return this.stack.getBoundingClientRect().width / this.canvas.width;
  }

  /** Row and column under the pointer; null outside. */
  pixel(event, evenOnDetector = false) {
    const [column, row] = this.vertex(event).map(Math.floor);
    const inside = row >= 0 && column >= 0 && row < this.canvas.height && column < this.canvas.width;
    return inside && (evenOnDetector || !this.flat) ? [row, column] : null;
  }

  /** The value of a map at a pixel; the truth, which has none, shows that of the picture beside it. */
  showValue(top, left) {
    const pane = this.legend?.low === null ? panes[view.count - 1] : this;
    if (pane.box.dataset.shown) showMap(pane.box.dataset.shown, top, left);
  }

  /** Mark the regions and the cross, or the cross alone. */
  mark(crossAlone = false) {
    const isScene = !this.flat && state.scene;
    for (const element of [this.regions, this.cross]) if (!isScene) element.replaceChildren();
    if (isScene && !crossAlone) drawRegions(this.regions);
    if (isScene) drawCross(this.cross);
  }
}

export const panes = [new Pane(0), new Pane(1)];
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
on("points moving", () => panes.slice(0, view.count).forEach((pane) => pane.mark()));
on("cross draft", () => panes.slice(0, view.count).forEach((pane) => pane.mark(true)));
on("enlarged", () => panes.forEach((pane) => pane.arrange()));

on("state", () => {
  const names = (state.scene?.layers ?? []).map((each) => each.name);
  for (const { select, index } of panes) {
    select.hidden = !names.length;
    select.replaceChildren(...names.map((name) => h("option", { value: name, selected: name === view.layers[index] }, name)));
  }
});
