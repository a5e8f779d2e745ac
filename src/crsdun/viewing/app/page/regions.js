// Points, boxes and polygons that are kept: the list of them, and their files.
import { postForBlob, request } from "./api.js";
import { $, h, notify, save } from "./dom.js";
import { emit, isPixel, on, state, view } from "./state.js";

const COLOURS = ["#56b4e9", "#e69f00", "#2ec99a", "#f0e442", "#cc79a7", "#ff8c42", "#b3b3ff", "#c3f0b4"];
const MOST_POINTS = 64;
const STEPS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };

/** A region as requests name it. */
export const asked = ({ name, rings, top, left, height, width }) => (rings ? { name, rings } : { name, top, left, height, width });
const askedFor = () => ({ points: view.points.map(asked), stage: view.stage });

/** What a region is, in a word or its place. */
export const placeOf = ({ rings, top, left, height, width }) => {
  if (rings) return rings.length > 1 ? `${rings.length} parts` : `${rings[0].length} vertices`;
  return height * width === 1 ? `row ${top}, column ${left}` : `rows ${top}–${top + height - 1}, columns ${left}–${left + width - 1}`;
};

on("keep", (region) => {
  const index = view.points.length, chosen = $("class-name").value.trim();
  if (index >= MOST_POINTS) { notify(`${MOST_POINTS} regions are kept already; remove some first`, true); return; }
  const kind = region.rings ? "polygon" : isPixel(region) ? "point" : "box";
  const names = view.points.map((point) => point.name);
  let count = index + 1;
  while (names.includes(`${kind} ${count}`)) count++;
  addRegion({ ...region, name: chosen || `${kind} ${count}` });
  emit("points");
});

/** Add a region to those that are kept; its colour goes with its number. */
export function addRegion(region) {
  if (view.points.length >= MOST_POINTS) return;
  view.points.push(region);
  view.active = view.points.length - 1;
  paint();
}

function paint() {
  view.points.forEach((point, index) => { point.colour = COLOURS[index % COLOURS.length]; });
}

function remove(index) {
  view.points.splice(index, 1);
  view.active = view.points.length ? Math.min(view.active, view.points.length - 1) : null;
  paint();
  emit("points");
}

/** Move a region by whole pixels, as far as the scene reaches. */
export function moveRegion(index, right, down) {
  const region = view.points[index], { width, height } = state.scene;
  const edges = (axis) => (region.rings ? region.rings.flat().map((vertex) => vertex[axis])
    : axis ? [region.top, region.top + region.height] : [region.left, region.left + region.width]);
  const inside = (by, values, whole) => Math.min(whole - Math.max(...values), Math.max(-Math.min(...values), by));
  [right, down] = [inside(right, edges(0), width), inside(down, edges(1), height)].map(Math.trunc);
  if (region.rings) region.rings = region.rings.map((ring) => ring.map(([x, y]) => [x + right, y + down]));
  else Object.assign(region, { top: region.top + down, left: region.left + right });
}

function drawList() {
  const focused = document.activeElement?.dataset?.badge;
  $("points").replaceChildren(...view.points.map((point, index) => {
    const badge = h("button", { className: "badge", type: "button", style: { background: point.colour }, title: "show it; arrow keys move it, Delete removes it",
      onclick: () => { view.active = index; drawList(); emit("active"); },
      onkeydown: (event) => {
        const by = event.shiftKey ? 10 : 1;
        if (event.key in STEPS) moveRegion(index, ...STEPS[event.key].map((step) => step * by));
        else if (event.key === "Delete" || event.key === "Backspace") { remove(index); return; }
        else return;
        event.preventDefault();
        emit("points");
      } }, String(index + 1));
    badge.dataset.badge = index;
    badge.setAttribute("aria-label", `show ${point.name}; arrow keys move it, Delete removes it`);
    const name = h("input", { value: point.name, maxLength: 80, oninput: () => { point.name = name.value; emit("active"); } });
    name.setAttribute("aria-label", `name of region ${index + 1}`);
    const size = point.rings ? placeOf(point) : isPixel(point) ? `${point.top}, ${point.left}` : `${point.height}×${point.width}`;
    const button = h("button", { className: "remove", type: "button", onclick: () => remove(index) }, "✕");
    button.setAttribute("aria-label", `remove ${point.name}`);
    return h("li", { className: index === view.active ? "active" : "" }, badge, name, h("span", {}, size), button);
  }));
  if (focused !== undefined) $("points").querySelector(`[data-badge="${focused}"]`)?.focus();
  for (const id of ["csv", "geojson", "envi", "clear-points"]) $(id).disabled = !view.points.length;
  $("load-regions").disabled = !state.scene;
}
on("state points", drawList);
on("active", () => [...$("points").children].forEach((row, index) => row.classList.toggle("active", index === view.active)));

$("all-points").onchange = () => { view.all = $("all-points").checked; emit("active"); };
$("clear-points").onclick = () => { Object.assign(view, { points: [], active: null }); emit("points"); };

// -- files ------------------------------------------------------------------------------------------------------

for (const [id, path, name] of [["csv", "/api/spectra.csv", "spectra.csv"], ["geojson", "/api/regions.geojson", "regions.geojson"], ["envi", "/api/regions.txt", "regions.txt"]]) {
  $(id).onclick = () => postForBlob(path, askedFor()).then((blob) => save(blob, name)).catch(() => {});
}

/** Add the regions in a file to those that are kept. */
export async function loadRegions(file) {
  const regions = await (await request("/api/regions", { method: "PUT", body: file })).json();
  const room = MOST_POINTS - view.points.length;
  if (regions.length > room) { notify(`${file.name} holds ${regions.length} regions, and there is room for ${room}; remove some first`, true); return; }
  for (const { rings, ...region } of regions) addRegion(rings.length ? { name: region.name, rings } : region);
  emit("points");
  notify(`${regions.length} ${regions.length === 1 ? "region" : "regions"} of ${file.name}`);
}
$("load-regions").onclick = () => $("regions-file").click();
$("regions-file").onchange = () => {
  const [file] = $("regions-file").files;
  if (file) loadRegions(file).catch(() => {}).finally(() => { $("regions-file").value = ""; });
};
