// Drawing a polygon, vertex by vertex.
import { $ } from "./dom.js";
import { emit, on, state, view } from "./state.js";

const NEAR = 10; // pixels of the screen

/** Add a vertex [x, y]; on the first or the last one it completes the polygon. `scale`: pixels of the screen for one of the scene. */
export function addVertex(vertex, scale = 1) {
  if (!vertex) return;
  const { width, height } = state.scene;
  // Half pixels: exact numbers, and fine enough for anything that can be seen.
  const [x, y] = [Math.min(width, Math.max(0, vertex[0])), Math.min(height, Math.max(0, vertex[1]))].map((value) => Math.round(2 * value) / 2);
  const isNear = (other) => other && Math.hypot(x - other[0], y - other[1]) * scale < NEAR;
  const { draft } = view;
  const isLast = draft.length && draft.at(-1)[0] === x && draft.at(-1)[1] === y;
  if (draft.length > 2 && (isLast || isNear(draft[0]))) { finishDraft(); return; }
  if (!isLast) draft.push([x, y]);
  emit("draft");
}

export function dropVertex() {
  view.draft.pop();
  emit("draft");
}

export function cancelDraft() {
  view.draft = [];
  emit("draft");
}

export function finishDraft() {
  const { draft } = view;
  if (draft.length < 3) return;
  view.draft = [];
  emit("keep", { rings: [draft] });
  emit("draft");
}

function setTool(tool) {
  view.tool = tool;
  for (const button of $("tools").children) button.setAttribute("aria-pressed", button.dataset.tool === tool);
  cancelDraft();
}
for (const button of $("tools").children) button.onclick = () => setTool(button.dataset.tool);

$("draft-finish").onclick = finishDraft;
$("draft-undo").onclick = dropVertex;
$("draft-cancel").onclick = cancelDraft;
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input:not([type=range]), select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "p") setTool(view.tool === "polygon" ? "point" : "polygon");
});

on("draft", () => {
  const count = view.draft.length;
  $("draft").hidden = view.tool !== "polygon";
  $("draft-text").textContent = count ? `${count} ${count === 1 ? "vertex" : "vertices"}` : "Click the vertices, and the first one again.";
  $("draft-finish").disabled = count < 3;
  for (const id of ["draft-undo", "draft-cancel"]) $(id).disabled = !count;
});
on("scene", cancelDraft);
