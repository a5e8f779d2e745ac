// Choose a method, decode, follow the computation, list the results.
import { post, request } from "./api.js";
import { $, h, isNumber, notify } from "./dom.js";
import { lineStyle } from "./plots.js";
import { openTyped } from "./files.js";
import { refresh } from "./refresh.js";
import { emit, on, state, TRUTH } from "./state.js";

function options(select, groups) {
  const before = select.value;
  select.replaceChildren(...groups.filter(([, entries]) => entries.length).map(([label, entries]) =>
    h("optgroup", { label }, ...entries.map((entry) => h("option", { value: entry, selected: entry === before }, entry)))));
}

let fits = {}; // shipped weights → why they do not fit, null where they do
let isChosen = false; // by a person

/** The list of the methods, with the shipped weights where they fit or where they do not. */
function drawMethods() {
  const judged = (wanted) => state.weights.filter((name) => name in fits && (fits[name] === null) === wanted);
  const others = state.weights.filter((name) => !(name in fits));
  options($("method-name"), [["networks that fit", judged(true)], ["networks", others], ["training-free", state.methods], ["networks that do not fit", judged(false)]]);
  if (!isChosen) $("method-name").value = judged(true)[0] ?? state.default_method;
  options($("engine"), [["computed by", state.engines]]);
  methodChanged();
}

function methodChanged() {
  const name = $("method-name").value, network = state.weights.includes(name);
  $("engine").disabled = !network;
  $("iterations").disabled = network;
  $("add-gap-tv").disabled = name === "gap-tv";
  const unfit = Object.keys(fits).filter((each) => fits[each] !== null && (each === name || !isChosen));
  $("method-hint").textContent = unfit.map((each) => `${each} does not fit: ${fits[each]}.`).join(" ");
}
$("method-name").onchange = () => { isChosen = true; methodChanged(); };
on("scene", (isProposed) => { isChosen &&= !isProposed; });
on("state", () => { fits = state.fits_of_weights; drawMethods(); drawResults(); });
on("fits", (found) => { fits = found; drawMethods(); });

/** The choice of the method, as a request names it. */
export const method = () => ({
  method: $("method-name").value, engine: $("engine").value, add_gap_tv: $("add-gap-tv").checked,
  iterations: $("iterations").disabled ? "" : $("iterations").value.trim(),
});

const begin = (path, body) => () => {
  const asked = body(); // before anything is opened, which draws the list of methods anew
  compute(async () => {
    await openTyped(); // what is decoded is what the form says
    await post(path, asked);
  });
};
$("decode-button").onclick = begin("/api/decode", method);
$("refine-button").onclick = begin("/api/refine", () => ({}));
$("cancel").onclick = () => post("/api/cancel").catch(() => {});

export let running = false; // a computation, from when it is asked for

function setRunning(value) {
  running = value;
  emit("running");
}

/** Ask for a computation, and follow it until it ends; returns whether there was one. */
export async function compute(ask) {
  if (running) return false;
  setRunning(true);
  try { await ask(); } catch { setRunning(false); return false; } // the reason is shown
  await follow().catch(() => {});
  return true;
}

async function follow() {
  try {
    for (;;) {
      const { job } = await (await request("/api/job")).json();
      if (!job) break;
      $("job").hidden = false;
      $("job-step").textContent = job.state === "waiting" ? "waiting for another computation on this machine …" : `${job.step}, ${job.seconds.toFixed(0)} s`;
      if (job.total) $("bar").value = job.done / job.total;
      else $("bar").removeAttribute("value");
      if (!["waiting", "running"].includes(job.state)) {
        notify(job.message, job.state === "failed");
        break;
      }
      await new Promise((resume) => setTimeout(resume, 150));
    }
  } finally {
    $("job").hidden = true;
    setRunning(false);
    await refresh();
  }
}

const percent = (part) => isNumber(part) && `${(100 * part).toFixed(2)} %`;

function drawResults() {
  $("refined").textContent = state.scene?.refined ?? "";
  const results = (state.scene?.layers ?? []).map((each, index) => [each, index]).filter(([each]) => each.name !== TRUTH);
  $("results").replaceChildren(...results.map(([each, index]) => {
    const { metrics } = each;
    const figures = [["PSNR", metrics.psnr_db && `${metrics.psnr_db.toFixed(2)} dB`], ["SSIM", metrics.ssim && metrics.ssim.toFixed(3)],
      ["SAM", metrics.sam_deg && `${metrics.sam_deg.toFixed(1)}°`], ["mIoU", isNumber(metrics.miou_present) && metrics.miou_present.toFixed(3)],
      ["residual", percent(metrics.data_residual)], ["held out", percent(metrics.held_out_residual)], ["noise", percent(metrics.noise)], ["time", each.seconds && `${each.seconds.toFixed(1)} s`]];
    return h("div", { className: "result" }, h("span", { className: "swatch", style: { background: lineStyle(each.name, index).colour } }), h("b", {}, each.name),
      h("div", { className: "figures" }, ...figures.filter(([, value]) => value).map(([name, value]) => h("span", {}, name, h("b", {}, value)))),
      ...(metrics.warning ? [h("p", { className: "bad" }, `Do not rely on this result: ${metrics.warning}.`)] : []));
  }));
  if (!results.length) {
    const hasMeasurement = state.scene?.detector;
    $("results").replaceChildren(h("p", { className: "hint" }, hasMeasurement ? "None yet." : "There is no measurement to decode: open one, or simulate it."));
  }
}

on("state running", () => {
  $("decode-button").disabled = $("refine-button").disabled = running || !state.scene?.detector;
  $("simulate-button").disabled = running;
});

