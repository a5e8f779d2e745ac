// Choose a method, decode, follow the computation, list the results.
import { post, request } from "./api.js";
import { $, h, isNumber, notify } from "./dom.js";
import { lineStyle } from "./plots.js";
import { refresh } from "./refresh.js";
import { on, state, TRUTH } from "./state.js";

function options(select, groups) {
  const before = select.value;
  select.replaceChildren(...groups.filter(([, entries]) => entries.length).map(([label, entries]) =>
    h("optgroup", { label }, ...entries.map((entry) => h("option", { value: entry, selected: entry === before }, entry)))));
}

function drawMethods() {
  const first = !$("method-name").options.length;
  options($("method-name"), [["networks", state.weights], ["training-free", state.methods]]);
  if (first) $("method-name").value = state.fitting ?? "gap-tv";
  options($("engine"), [["computed by", state.engines]]);
  methodChanged();
}

function methodChanged() {
  const network = state.weights.includes($("method-name").value);
  $("engine").disabled = !network;
  $("iterations").disabled = network;
  $("add-gap-tv").disabled = $("method-name").value === "gap-tv";
}
$("method-name").onchange = methodChanged;

/** The choice of the method, as a request names it. */
export const method = () => ({
  method: $("method-name").value, engine: $("engine").value, add_gap_tv: $("add-gap-tv").checked,
  iterations: $("iterations").disabled ? "" : $("iterations").value.trim(),
});

$("decode-button").onclick = () => post("/api/decode", method()).then(watch).catch(() => {});
$("cancel").onclick = () => post("/api/cancel").catch(() => {});

export let running = false;
/** Follow the computation until it ends. */
export async function watch() {
  if (running) return;
  running = true;
  $("decode-button").disabled = true;
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
    running = false;
    $("job").hidden = true;
    $("decode-button").disabled = false;
    await refresh();
  }
}

function drawResults() {
  const results = (state.scene?.layers ?? []).map((each, index) => [each, index]).filter(([each]) => each.name !== TRUTH);
  $("results").replaceChildren(...results.map(([each, index]) => {
    const { metrics } = each;
    const figures = [["PSNR", metrics.psnr_db && `${metrics.psnr_db.toFixed(2)} dB`], ["SSIM", metrics.ssim && metrics.ssim.toFixed(3)],
      ["SAM", metrics.sam_deg && `${metrics.sam_deg.toFixed(1)}°`], ["mIoU", isNumber(metrics.miou_present) && metrics.miou_present.toFixed(3)],
      ["residual", isNumber(metrics.data_residual) && `${(100 * metrics.data_residual).toFixed(2)} %`], ["time", each.seconds && `${each.seconds.toFixed(1)} s`]];
    return h("div", { className: "result" }, h("span", { className: "swatch", style: { background: lineStyle(each.name, index).colour } }), h("b", {}, each.name),
      h("div", { className: "figures" }, ...figures.filter(([, value]) => value).map(([name, value]) => h("span", {}, name, h("b", {}, value)))),
      ...(metrics.warning ? [h("p", { className: "bad" }, `Do not rely on this result: ${metrics.warning}.`)] : []));
  }));
  if (!results.length) {
    const hasMeasurement = state.scene?.detector;
    $("results").replaceChildren(h("p", { className: "hint" }, hasMeasurement ? "None yet." : "There is no measurement to decode: open one, or simulate it."));
  }
  $("decode-button").disabled = running || !state.scene?.detector;
}

on("state", () => { drawMethods(); drawResults(); });
