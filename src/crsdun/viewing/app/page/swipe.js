// One picture over the other, with a handle between them.
import { $ } from "./dom.js";
import { panes } from "./panes.js";
import { on, view } from "./state.js";

const KEYS = { ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02, PageDown: -0.2, PageUp: 0.2, Home: -1, End: 1 };
const handle = $("swipe");
$("panes").append(handle);

function draw() {
  $("panes").classList.toggle("swipe", view.swipe);
  handle.hidden = !view.swipe;
  const share = `${100 * view.split}%`;
  panes[1].box.style.clipPath = view.swipe ? `inset(0 0 0 ${share})` : "";
  handle.style.left = share;
  handle.style.top = `${panes[1].box.offsetTop}px`;
  handle.setAttribute("aria-valuenow", Math.round(100 * view.split));
  handle.setAttribute("aria-valuetext", `${Math.round(100 * view.split)} % ${view.layers[0]}, the rest ${view.layers[1]}`);
}

function move(split) {
  view.split = Math.min(1, Math.max(0, split));
  draw();
}

handle.onpointerdown = (event) => {
  handle.setPointerCapture(event.pointerId);
  event.preventDefault();
  handle.focus();
};
handle.onpointermove = (event) => {
  if (!handle.hasPointerCapture(event.pointerId)) return;
  const frame = $("panes").getBoundingClientRect();
  move((event.clientX - frame.left) / frame.width);
};
handle.onkeydown = (event) => {
  if (!(event.key in KEYS)) return;
  event.preventDefault();
  move(view.split + KEYS[event.key]);
};
on("view", draw);
new ResizeObserver(draw).observe($("panes"));
