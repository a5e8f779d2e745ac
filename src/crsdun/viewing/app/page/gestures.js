// What mouse, fingers and keys do on a picture.
import { pan, zoom } from "./enlarge.js";
import { addVertex, cancelDraft, dropVertex, finishDraft } from "./polygon.js";
import { moveRegion } from "./regions.js";
import { emit, isMap, isPixel, state, view } from "./state.js";

const moved = (a, b) => Math.abs(a[0] - b[0]) + Math.abs(a[1] - b[1]) > 1;
const pixelAt = ([top, left]) => ({ top, left, height: 1, width: 1 });
const boxOf = (a, b) => ({
  top: Math.min(a[0], b[0]), left: Math.min(a[1], b[1]),
  height: Math.abs(a[0] - b[0]) + 1, width: Math.abs(a[1] - b[1]) + 1,
});

/** Listen to everything that happens on a pane. */
export function listen(pane) {
  const { box } = pane;
  const down = new Map(); // pointers that are down, by their id
  let act = null; // what they do: { move, end }

  box.addEventListener("pointerdown", (event) => {
    if (event.button > 0) return;
    down.set(event.pointerId, event);
    box.setPointerCapture(event.pointerId);
    if (down.size === 2) act = pinching(pane, down);
    else if (down.size === 1) act = begin(pane, event);
  });
  box.addEventListener("pointermove", (event) => {
    if (down.has(event.pointerId)) down.set(event.pointerId, event);
    if (act?.move) act.move(event);
    else if (!down.size) hover(pane, event);
  });
  const lift = (event, isEnd) => {
    if (!down.delete(event.pointerId)) return;
    if (isEnd && !down.size) act?.end?.(event);
    act = down.size ? {} : null; // of two fingers the one that stays draws nothing
  };
  box.addEventListener("pointerup", (event) => lift(event, true));
  box.addEventListener("pointercancel", (event) => lift(event, false));
  box.addEventListener("pointerleave", () => { if (!down.size) { view.cross = null; emit("cross"); } });
  box.addEventListener("dblclick", () => { if (view.tool === "polygon") finishDraft(); });
  box.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.25 : 0.8, pane.fraction(event));
  }, { passive: false });
  box.addEventListener("keydown", (event) => { if (key(pane, event)) event.preventDefault(); });
}

/** What one pointer begins where it goes down. */
function begin(pane, event) {
  const badge = event.target.closest("[data-region]");
  if (badge) return movingRegion(pane, event, Number(badge.dataset.region));
  if (event.shiftKey) return panning(pane, event);
  const from = pane.pixel(event);
  if (!from) return {};
  if (view.tool === "polygon") return { move: (to) => hover(pane, to), end: (to) => addVertex(pane.vertex(to), pane.scale()) };
  return {
    move: (to) => {
      const here = pane.pixel(to);
      if (!here) return;
      view.cross = moved(from, here) ? boxOf(from, here) : pixelAt(here);
      emit("cross");
    },
    end: (to) => {
      const here = pane.pixel(to) ?? (view.cross && [view.cross.top, view.cross.left]);
      if (here) emit("keep", view.cross && !isPixel(view.cross) ? view.cross : pixelAt(here));
      if (to.pointerType === "touch") { view.cross = null; emit("cross"); }
    },
  };
}

function panning(pane, start) {
  let before = pane.fraction(start);
  return { move: (event) => {
    const here = pane.fraction(event);
    pan(before[0] - here[0], before[1] - here[1]);
    before = pane.fraction(event);
  } };
}

/** Two fingers: their distance enlarges, their middle moves. */
function pinching(pane, down) {
  const grip = () => {
    const [a, b] = down.values();
    const middle = { clientX: (a.clientX + b.clientX) / 2, clientY: (a.clientY + b.clientY) / 2 };
    return { middle, distance: Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY) || 1 };
  };
  view.cross = null;
  emit("cross");
  let before = grip();
  return { move: () => {
    const now = grip();
    const held = pane.fraction(before.middle);
    zoom(now.distance / before.distance, held);
    const here = pane.fraction(now.middle);
    pan(held[0] - here[0], held[1] - here[1]);
    before = now;
  } };
}

function movingRegion(pane, start, index) {
  let from = pane.vertex(start), changed = false;
  return {
    move: (event) => {
      const here = pane.vertex(event);
      const steps = [here[0] - from[0], here[1] - from[1]].map(Math.trunc);
      if (!steps[0] && !steps[1]) return;
      moveRegion(index, ...steps);
      from = [from[0] + steps[0], from[1] + steps[1]];
      changed = true;
      emit("moving");
    },
    end: () => {
      view.active = index;
      emit(changed ? "points" : "active");
    },
  };
}

function hover(pane, event) {
  const place = pane.pixel(event, true);
  if (place && (isMap() || pane.flat)) pane.showValue(...place);
  const here = pane.pixel(event);
  if (!here) return;
  view.cross = pixelAt(here);
  emit("cross");
}

/** Returns whether the key means something. */
function key(pane, { key: name, shiftKey, ctrlKey, metaKey }) {
  const by = shiftKey ? 10 : 1;
  const steps = { ArrowUp: [-by, 0], ArrowDown: [by, 0], ArrowLeft: [0, -by], ArrowRight: [0, by] };
  if (name in steps && ctrlKey) pan((0.1 * Math.sign(steps[name][1])) / view.zoom, (0.1 * Math.sign(steps[name][0])) / view.zoom);
  else if (ctrlKey || metaKey) return false;
  else if (name in steps && !pane.flat && state.scene) moveCross(pane, ...steps[name]);
  else if (name === "Enter" && view.cross && view.tool === "polygon") addVertex([view.cross.left + 0.5, view.cross.top + 0.5]);
  else if (name === "Enter" && view.cross) emit("keep", view.cross);
  else if (name === "Escape" && view.draft.length) cancelDraft();
  else if (name === "Backspace" && view.draft.length) dropVertex();
  else if (name === "+" || name === "=") zoom(1.25);
  else if (name === "-") zoom(0.8);
  else if (name === "0") zoom(0);
  else return false;
  return true;
}

function moveCross(pane, down, right) {
  const { height, width } = state.scene;
  const { top, left } = view.cross ?? { top: height >> 1, left: width >> 1 };
  const inside = (value, count) => Math.min(count - 1, Math.max(0, value));
  view.cross = pixelAt([inside(top + down, height), inside(left + right, width)]);
  emit("cross");
  if (isMap()) pane.showValue(view.cross.top, view.cross.left);
}
