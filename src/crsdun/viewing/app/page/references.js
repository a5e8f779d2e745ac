// Spectra of libraries and tables, to draw beside those of the scene.
import { post } from "./api.js";
import { lineSample } from "./chart.js";
import { $, h } from "./dom.js";
import { referenceStyle } from "./plots.js";
import { emit, on, state, view } from "./state.js";

const MOST_REFERENCES = 16;
const library = (name) => state.files.find((file) => file.name === name);
const isKnown = ({ file, index }) => index < (library(file)?.spectra.length ?? 0);

/** Reference spectra as lines of the plot. */
export let lines = [];

/** Draw these, as far as their files are here. */
export function setReferences(choices) {
  view.references = choices.filter(isKnown).slice(0, MOST_REFERENCES);
  emit("references");
}

async function read() {
  const choices = view.references;
  let found = [];
  if (choices.length) {
    try { found = await post("/api/references", { references: choices }); }
    catch { if (choices === view.references) { view.references = choices.slice(0, -1); read(); } return; } // the reason is shown
  }
  if (choices !== view.references) return;
  lines = found.map(({ name, wavelengths, values }, index) => ({ ...referenceStyle(index), name, x: wavelengths, mean: values }));
  draw();
  emit("lines");
}

function draw() {
  $("reference-list").replaceChildren(...lines.map((line, index) => {
    const button = h("button", { className: "remove", type: "button", onclick: () => setReferences(view.references.filter((_, other) => other !== index)) }, "✕");
    button.setAttribute("aria-label", `remove ${line.name}`);
    const entry = h("li");
    lineSample(entry, line);
    entry.append(h("span", { title: `${line.name}, ${view.references[index]?.file}` }, line.name), button);
    return entry;
  }));
  const libraries = state.libraries.map((name) => {
    const select = h("select", { onchange: () => setReferences([...view.references, { file: name, index: Number(select.value) }]) },
      h("option", { value: "" }, `${name}: add one of ${library(name).spectra.length}`),
      ...library(name).spectra.map((spectrum, index) => h("option", { value: index }, spectrum)));
    select.disabled = !state.scene?.wavelengths || view.references.length >= MOST_REFERENCES;
    select.setAttribute("aria-label", `add a spectrum of ${name}`);
    return select;
  });
  $("reference-files").replaceChildren(...libraries);
  $("reference-hint").textContent = !state.libraries.length ? "A table (.csv) or an ENVI spectral library (.sli with its .hdr)."
    : state.scene && !state.scene.wavelengths ? "The wavelengths of the scene are not known, so nothing can be drawn beside it." : "";
}

$("add-reference").onclick = () => $("chosen").click();
on("references", read);
on("scene", () => setReferences([]));
on("state", () => {
  const known = view.references.filter(isKnown);
  if (known.length < view.references.length) setReferences(known);
  else draw();
});
