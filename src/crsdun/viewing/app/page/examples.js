// Classes by example: regions that are called like classes make a map of them, and a classifier to take home and bring again.
import { address, post } from "./api.js";
import { compute, running } from "./decode.js";
import { $, h } from "./dom.js";
import { asked } from "./regions.js";
import { layer, on, preferred, state, view } from "./state.js";

const names = () => [...new Set(view.points.map((point) => point.name.trim()).filter(Boolean))];
/** The layer whose classes regions made, of those that are shown. */
const mine = () => preferred().find((each) => each.classifier);

$("classify").onclick = () => classify({ points: view.points.map(asked) });
$("apply-classifier").onclick = () => classify({ classifier: $("saved-classifier").value });

async function classify(by) {
  if (!(await compute(() => post("/api/classify", { layer: preferred()[0].name, ...by })))) return;
  if (layer(view.layers[view.count - 1])?.classifier && !view.opacity) {
    $("opacity").value = 70; // it would not be seen
    $("opacity").dispatchEvent(new Event("input"));
  }
  draw();
}

$("save-classifier").onclick = () => h("a", { href: address("/api/classifier", { layer: mine().name }), download: "classes.safetensors" }).click();

function draw() {
  const found = names();
  $("classify").disabled = running || found.length < 2;
  $("class-names").replaceChildren(...[...new Set([...found, ...(state.scene?.classes ?? []).map((each) => each.name)])].map((value) => h("option", { value })));
  $("save-classifier").hidden = !mine();
  $("saved").hidden = !state.classifiers.length;
  $("apply-classifier").disabled = running || !state.scene;
  const before = $("saved-classifier").value;
  $("saved-classifier").replaceChildren(...state.classifiers.map((name) => h("option", { value: name, selected: name === before }, name)));
  $("classify-hint").textContent = !view.points.length ? "" : found.length < 2
    ? "Give regions the names of classes: those of one name are one class."
    : `${found.length} classes: ${found.slice(0, 8).join(", ")}${found.length > 8 ? " …" : ""}`;
}
on("state points active view running", draw);
