// Undo and redo of what is kept and how it is looked at: the addresses that the view had, one after the other.
import { restore, written } from "./address.js";
import { $, notify } from "./dom.js";
import { on } from "./state.js";

const SETTLED_MS = 400; // a slider that moves is one change
const MOST = 200;
let past = [], future = [], now = "", timer = null, isNew = true;

/** Begin with the view as it is; there is nothing to undo. */
export function begin() {
  clearTimeout(timer);
  [past, future, now] = [[], [], written()];
  draw();
}

/** Take note of the view as it is, where it has changed. */
function note() {
  clearTimeout(timer);
  const next = written();
  if (next !== now) {
    past = [...past, now].slice(-MOST);
    future = [];
  }
  now = next;
  draw();
}

function draw() {
  $("undo").disabled = !past.length;
  $("undo").dataset.steps = past.length; // for who waits until a change has been noted
  $("redo").disabled = !future.length;
}

function step(from, to, text) {
  note();
  if (!from().length) return;
  to().push(now);
  now = from().pop();
  restore(now);
  now = written();
  notify(text);
  draw();
}
const undo = () => step(() => past, () => future, "undone");
const redo = () => step(() => future, () => past, "done again");
$("undo").onclick = undo;
$("redo").onclick = redo;

document.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.altKey || event.target.matches("input:not([type=range]):not([type=checkbox]), textarea")) return;
  const key = event.key.toLowerCase();
  if (key === "y" || (key === "z" && event.shiftKey)) redo();
  else if (key === "z") undo();
  else return;
  event.preventDefault();
});

on("view points active state references", () => {
  clearTimeout(timer);
  timer = setTimeout(note, SETTLED_MS);
});
on("scene", () => { isNew = true; });
on("state", () => {
  if (isNew) begin();
  isNew = false;
});
