// The page of the explorer: shows what the server computes.
import { restore } from "./address.js";
import { enter } from "./api.js";
import { compute } from "./decode.js";
import { $, h, notify } from "./dom.js";
import { refresh } from "./refresh.js";
import { on, state } from "./state.js";
import "./panes.js";
import "./swipe.js";
import "./snapshot.js";
import "./spectra.js";
import { begin } from "./undo.js";
import "./classes.js";
import "./examples.js";
import "./attention.js";
import "./files.js";
import "./simulate.js";
import "./downloads.js";

on("state", () => {
  const { scene } = state;
  if (!scene) return;
  const range = scene.wavelengths ? `, ${scene.wavelengths[0].toFixed(0)}–${scene.wavelengths.at(-1).toFixed(0)} nm` : "";
  const step = scene.step === null ? "" : ` · step ${scene.step}`;
  $("scene").replaceChildren(h("strong", {}, scene.name), ` ${scene.height}×${scene.width} · ${scene.bands} bands${range}${step}`);
  $("scene").title = $("scene").textContent;
  $("notes").replaceChildren(...scene.notes.map((note) => h("p", {}, note)));
});

const address = location.hash;
await enter();
await refresh();
restore(address);
begin();
if (state.problem) notify(state.problem, true);
if (state.job && ["waiting", "running"].includes(state.job.state)) compute(async () => {}); // begun before a reload
document.body.dataset.ready = "yes";
