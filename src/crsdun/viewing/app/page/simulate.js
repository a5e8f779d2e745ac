// Try a camera: simulate a measurement, decode it, and compare with the trials before.
import { post } from "./api.js";
import { compute, method, running } from "./decode.js";
import { $, fixed, h } from "./dom.js";
import { trialsPlot } from "./plots.js";
import { layer, on, state, TRUTH } from "./state.js";

const PHOTONS = [0, 10000, 5000, 2000, 1000, 500, 200, 100, 50, 20, 10, 5, 2, 1]; // positions of the slider
const camera = $("camera").elements;
/** The settings of the camera, as a request names them. */
function settings() {
  const values = { scene: camera.scene.value, mask: camera.mask.value, size: Number(camera.size.value) };
  for (const name of ["mask_seed", "read_noise", "step", "shift_down", "shift_right"]) values[name] = Number(camera[name].value);
  return { ...values, photons: PHOTONS[Number(camera.photons.value)] };
}

function drawCamera() {
  const values = settings();
  const texts = { ...values, photons: values.photons || "no shot noise", step: `${values.step} pixels per band`, read_noise: values.read_noise || "none" };
  const isCalibrated = Boolean(state.files.find((file) => file.name === values.mask)?.camera);
  camera.step.disabled = isCalibrated;
  camera.mask_seed.disabled = Boolean(values.mask);
  if (isCalibrated) texts.step = "that of the camera";
  for (const name of ["mask_seed", "photons", "read_noise", "step", "shift_down", "shift_right"]) {
    camera[name].parentElement.querySelector("output").textContent = texts[name];
    camera[name].setAttribute("aria-valuetext", texts[name]);
  }
}

async function simulate() {
  while (running) {
    await post("/api/cancel").catch(() => {}); // again, as it may not have begun
    await new Promise((resume) => setTimeout(resume, 50));
  }
  const chosen = method();
  await compute(() => post("/api/simulate", { ...settings(), ...chosen, add_gap_tv: chosen.add_gap_tv && !$("live").checked }));
}

let timer = null;
$("camera").oninput = () => {
  drawCamera();
  clearTimeout(timer);
  if ($("live").checked) timer = setTimeout(simulate, 300);
};
$("simulate-button").onclick = () => simulate();
$("camera").onsubmit = (event) => { event.preventDefault(); simulate(); };

function drawScenes() {
  const before = camera.scene.value;
  const open = layer(TRUTH) ? [{ name: "open", title: "what is open" }] : [];
  camera.scene.replaceChildren(...[...state.samples, ...open].map(({ name, title }) => h("option", { value: name, selected: name === before }, title)));
  const masks = state.files.filter((file) => file.camera || file.arrays.some((array) => array.looks_like === "mask"));
  const mask = camera.mask.value;
  camera.mask.replaceChildren(h("option", { value: "" }, "random"),
    ...masks.map(({ name }) => h("option", { value: name, selected: name === mask }, name)));
}

function drawTrials() {
  const trials = state.trials.map((trial) => ({ ...trial.camera, ...trial, mask: trial.mask ?? trial.camera.mask_seed }));
  $("trials").hidden = !trials.length;
  if (!trials.length) return;
  const names = { step: "step", photons: "photons", read_noise: "read-out", mask: "mask", shift_down: "rows", shift_right: "columns", size: "part", method: "", scene: "" };
  const difference = (trial, before) => {
    if (!before) return trial.method;
    const changes = Object.keys(names).filter((name) => trial[name] !== before[name])
      .map((name) => `${names[name]} ${name === "photons" && !trial[name] ? "∞" : trial[name] ?? "uneven"}`.trim());
    return changes.join(", ") || "the same";
  };
  const rows = trials.map((trial, index) => h("tr", {}, h("td", { title: difference(trial, trials[index - 1]) }, `${index + 1} ${difference(trial, trials[index - 1])}`),
    h("td", {}, fixed(trial.psnr_db, 2)), h("td", {}, fixed(trial.miou_present, 3)))).reverse().slice(0, 12);
  const head = h("tr", {}, h("th", {}, "change"), h("th", {}, "PSNR"), h("th", {}, "mIoU"));
  $("trials").replaceChildren(h("h2", {}, "PSNR and mIoU, trial by trial"), trialsPlot(trials, $("left").clientWidth - 28),
    h("table", {}, h("thead", {}, head), h("tbody", {}, ...rows)));
}

on("state", () => { drawScenes(); drawCamera(); drawTrials(); });
