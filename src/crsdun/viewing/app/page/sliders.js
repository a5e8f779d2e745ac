// How the pictures are shown: display mode, band, stage, classes; and the keys for it.
import { $, h } from "./dom.js";
import { bandName, emit, on, stages, state, view } from "./state.js";

function drawSliders() {
  const { scene } = state;
  $("band").value = view.band;
  $("band-value").textContent = scene ? `${bandName(view.band)} · ${view.band + 1}/${scene.bands}` : "";
  $("band").setAttribute("aria-valuetext", $("band-value").textContent);
  $("band-name").textContent = scene?.wavelengths ? "Wavelength" : "Band";
  $("rgb").hidden = view.mode !== "false";
  $("stretch-field").hidden = view.mode !== "band";
  const count = stages();
  $("stage-field").hidden = count < 2;
  $("stage").max = count;
  $("stage").value = view.stage;
  $("stage-value").textContent = `${Math.min(view.stage, count)} of ${count}, x and θ`;
  $("opacity-field").hidden = !(scene?.layers ?? []).some((each) => each.segments.includes(true));
  $("opacity").value = view.opacity;
  $("opacity-value").textContent = view.opacity ? `${view.opacity} % over the picture` : "hidden";
  for (const button of $("count").children) button.setAttribute("aria-pressed", Number(button.dataset.count) === view.count && ("swipe" in button.dataset) === view.swipe);
}
on("view", drawSliders);

function setMode(mode) {
  if (mode === view.mode) return;
  view.mode = $("mode").value = mode;
  emit("mode");
}

function change(changes) {
  Object.assign(view, changes);
  return emit("view");
}

/** Show another band. */
export function setBand(band) {
  if (view.mode !== "difference") setMode("band");
  change({ band: Math.min(state.scene.bands - 1, Math.max(0, band)) });
}

$("mode").onchange = () => { setMode($("mode").value); emit("view"); };
$("stretch").onchange = () => change({ stretch: $("stretch").checked });
$("band").oninput = () => setBand(Number($("band").value));
$("stage").oninput = () => { change({ stage: Number($("stage").value) }); emit("stage"); };
$("opacity").oninput = () => change({ opacity: Number($("opacity").value) });
for (const button of $("count").children) button.onclick = () => change({ count: Number(button.dataset.count), swipe: "swipe" in button.dataset });

document.addEventListener("keydown", (event) => {
  if (event.target.matches("input:not([type=range]), select, textarea") || !state?.scene) return;
  if (event.key === "[") setBand(view.band - 1);
  else if (event.key === "]") setBand(view.band + 1);
  else if (event.key === "?") $("help-box").showModal();
});
$("help").onclick = () => $("help-box").showModal();

on("scene restored", () => {
  const { bands, lights } = state.scene;
  $("band").max = bands - 1;
  $("band").disabled = bands < 2;
  $("band").style.background = `linear-gradient(90deg, ${(lights.length ? lights : ["#444", "#bbb"]).join()})`;
  [...$("rgb").querySelectorAll("select")].forEach((select, index) => {
    select.replaceChildren(...Array.from({ length: bands }, (_, band) => h("option", { value: band, selected: band === view.rgb[index] }, bandName(band))));
    select.onchange = () => { view.rgb[index] = Number(select.value); emit("view"); };
  });
});

on("state", () => {
  const { has_truth: hasTruth, detector, layers } = state.scene ?? { layers: [] };
  const usable = { error: hasTruth, angle: hasTruth, trust: detector, measurement: detector, residual: detector, difference: layers.length > 1,
    confidence: layers.some((each) => each.probabilities.includes(true)) };
  for (const option of $("mode").querySelectorAll("option")) option.disabled = option.value in usable && !usable[option.value];
  if ($("mode").selectedOptions[0].disabled) setMode("colour");
});
