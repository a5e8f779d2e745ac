// Class probabilities of a region, and the classes of the picture with their pixels.
import { fetched } from "./api.js";
import { $, h } from "./dom.js";
import { emit, layer, on, preferred, state, TRUTH, UNKNOWN, view } from "./state.js";

function drawProbabilities(spectra) {
  const shown = preferred().find((each) => each.probabilities.includes(true));
  const shares = shown && spectra?.[shown.name]?.classes;
  $("probabilities").hidden = !shares;
  if (!shares) return;
  const best = shares.map((share, index) => [share, index]).sort((a, b) => b[0] - a[0]).slice(0, 5);
  const rows = best.map(([share, index]) => {
    const { name, colour } = state.scene.classes[index];
    return h("div", {}, h("span", { title: name }, name),
      h("span", { className: "track" }, h("i", { style: { width: `${100 * share}%`, background: colour } })),
      h("span", {}, `${(100 * share).toFixed(1)} %`));
  });
  $("probabilities").replaceChildren(h("h2", {}, `Class probabilities, ${shown.name}`), h("div", { className: "bars" }, ...rows));
}
on("spectrum", drawProbabilities);

/** Pixels of each class at the stage of the slider; null where it does not segment. */
async function pixels(shown) {
  const stage = Math.min(view.stage, shown.stages);
  if (!shown.segments[stage - 1]) return null;
  const counts = new Uint32Array(256);
  for (const value of await fetched(`/api/classes?layer=${encodeURIComponent(shown.name)}&stage=${stage}`)) counts[value]++;
  return counts;
}

async function drawClasses() {
  const shown = preferred().find((each) => each.segments.includes(true));
  $("classes").hidden = !shown;
  if (!shown) return;
  const truth = layer(TRUTH)?.segments[0] && shown.name !== TRUTH ? await pixels(layer(TRUTH)) : null;
  const counts = await pixels(shown);
  const unknown = { name: shown.name === TRUTH ? "unlabelled" : "unknown", colour: state.scene.unknown };
  const listed = [...state.scene.classes.map((each, index) => [each, index]), [unknown, UNKNOWN]];
  const rows = listed.map(([each, index]) => [each, index, counts?.[index] ?? 0, truth?.[index] ?? 0])
    .filter(([, , count, trueCount]) => count || trueCount).sort((a, b) => b[2] - a[2]);
  const head = h("tr", {}, h("th", {}, "class"), h("th", {}, "pixels"), h("th", {}, "share"), truth ? h("th", {}, "in truth") : null);
  const whole = state.scene.height * state.scene.width;
  const body = rows.map(([{ name, colour }, index, count, trueCount]) => {
    const button = h("button", { className: "class", type: "button", title: "show or hide it over the picture", onclick: () => {
      if (!view.hidden.delete(index)) view.hidden.add(index);
      button.setAttribute("aria-pressed", !view.hidden.has(index));
      emit("view");
    } }, h("i", { style: { background: colour } }), name);
    button.setAttribute("aria-pressed", !view.hidden.has(index));
    return h("tr", {}, h("td", {}, button), h("td", {}, count.toLocaleString("en")),
      h("td", {}, `${((100 * count) / whole).toFixed(1)} %`), truth ? h("td", {}, trueCount.toLocaleString("en")) : null);
  });
  $("classes").replaceChildren(h("h2", {}, `Classes, ${shown.name}`), h("table", {}, h("thead", {}, head), h("tbody", {}, ...body)));
}
on("state stage restored", drawClasses);
