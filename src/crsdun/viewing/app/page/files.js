// Samples and files: upload them, choose what is what, open them.
import { post, request } from "./api.js";
import { short } from "./contrast.js";
import { $, fixed, h, notify } from "./dom.js";
import { setReferences } from "./references.js";
import { refresh } from "./refresh.js";
import { loadRegions } from "./regions.js";
import { emit, on, state, view } from "./state.js";
import { showTab } from "./tabs.js";

const ROLES = ["measurement", "mask", "truth", "labels"];
const OF_A_CAMERA = ["mask", "step", "bands", "wavelengths"]; // what a camera file says
const TYPED = ["step", "bands", "bits", "dark", "white", "wavelengths"];
const TYPING_MS = 400;
const arrived = new Set(); // names of files that came since the form was drawn
let drawn = null; // what was told of each file then, by name

/** A choice among arrays, as the form holds it. */
const named = (choice) => (choice ? JSON.stringify({ file: choice.file, key: choice.key ?? "" }) : "");

async function upload(files) {
  let last = null;
  for (const file of files) {
    if (file.size > state.limit_mb * 1048576) {
      notify(`${file.name} is larger than ${state.limit_mb} MB, the most this explorer takes; crop it, or raise the upload limit when starting crsdun app`, true);
      return;
    }
    if (/\.(geo)?json$/i.test(file.name)) { await loadRegions(file).catch(() => {}); continue; }
    notify(`${file.name} is being uploaded …`);
    try {
      last = await (await request(`/api/files/${encodeURIComponent(file.name)}`, { method: "PUT", body: file })).json();
      arrived.add(last.name);
    } catch { await refresh(); return; }
  }
  if (!last) return;
  await refresh();
  if (last.problem) { notify(last.problem, true); return; }
  const { measurement, mask, truth } = state.suggested;
  const camera = state.suggested_camera;
  const isSuggested = Object.values(state.suggested).some((role) => role.file === last.name) || last.name === camera;
  if (last.is_weights) notify(`${last.name} can now be chosen under Decode`);
  else if (last.classes.length) notify(`${last.name} can now be applied to a result, below the regions`);
  else if (last.spectra.length) showLibrary(last);
  else if (isSuggested && ((measurement && (mask || camera)) || (!measurement && truth))) await openChosen(true).catch(() => {}); // nothing left to ask
  else if (last.camera) notify(`${last.name} takes frames of ${last.camera.detector.join("×")} pixels: ${measurement ? "the measurement here has another size" : "now add one"}`);
  else notify(measurement ? "now add its mask" : "choose below which array is which");
}

$("chosen").onchange = () => upload([...$("chosen").files]).finally(() => { $("chosen").value = ""; });
for (const name of ["dragover", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files.length) { showTab($("tab-open")); upload([...event.dataTransfer.files]); }
  });
}
document.addEventListener("dragleave", () => $("drop").classList.remove("over"));

function drawFiles() {
  $("found").replaceChildren(...state.files.map((file) => {
    const inside = file.arrays.map((array) => {
      const range = array.min === null ? "" : `, ${short(array.min)} to ${short(array.max)}`;
      const notFinite = array.nan + array.inf ? `, ${array.nan + array.inf} NaN or infinite` : "";
      return h("li", {}, `${array.key}: ${array.shape.join("×")} ${array.dtype}${range}${notFinite}; looks like a ${array.looks_like}`);
    });
    for (const line of file.camera?.lines ?? []) inside.push(h("li", {}, line));
    for (const doubt of file.camera?.doubts ?? []) inside.push(h("li", { className: "bad" }, doubt));
    if (file.classes.length) inside.push(h("li", {}, `${file.classes.length} classes: ${file.classes.slice(0, 8).join(", ")}${file.classes.length > 8 ? " …" : ""}`));
    if (file.spectra.length) inside.push(h("li", {}, `${file.spectra.length} ${file.spectra.length === 1 ? "spectrum" : "spectra"}`));
    if (file.wavelengths) {
      const [count, first, last] = file.wavelengths;
      inside.push(h("li", {}, `wavelengths: ${count}, ${fixed(first, 0)} to ${fixed(last, 0)} nm`));
    }
    return h("div", { className: "file" }, h("b", {}, file.name), ` ${file.problem ? "" : file.format}`,
      file.problem ? h("div", { className: "bad" }, file.problem) : h("ul", {}, ...inside));
  }));
  drawRoles();
  const fits = state.fits.slice(0, 6).map(({ bands, step }) => h("button", { type: "button", onclick: () => {
    Object.assign($("roles").elements.step, { value: step });
    Object.assign($("roles").elements.bands, { value: bands });
    $("roles").dispatchEvent(new Event("input"));
  } }, `${bands} bands, step ${step}`));
  $("fits").replaceChildren(...(fits.length ? [h("span", {}, "Cameras that fit:"), ...fits] : []));
  drawCamera();
}

/** Which array has which role: as it was chosen or is open, and as suggested by files that are new. */
function drawRoles() {
  const { elements } = $("roles"), opened = drawn ? null : state.scene?.request; // as after a reload
  const told = Object.fromEntries(state.files.map((file) => [file.name, JSON.stringify(file)]));
  const isNew = (name) => !opened && name in told && (arrived.has(name) || told[name] !== drawn?.[name]);
  const arrays = state.files.flatMap((file) => file.arrays.map(({ key, shape }) => ({ file: file.name, key, shape })));
  $("roles").hidden = !arrays.length;
  for (const role of ROLES) {
    const select = elements[role], suggested = state.suggested[role];
    const before = opened ? named(opened.arrays[role]) : select.value;
    select.replaceChildren(h("option", { value: "" }, role === "mask" ? "in the file of the measurement" : "none"),
      ...arrays.map((array) => h("option", { value: named(array) }, `${array.file} › ${array.key} ${array.shape.join("×")}`)));
    select.value = isNew(suggested?.file) ? named(suggested) : before;
    if (select.selectedIndex < 0) select.value = named(suggested); // what it was is no longer there
  }
  const cameras = state.files.filter((file) => file.camera).map(({ name }) => name);
  const select = elements.camera, { measurement, mask } = state.suggested;
  const before = opened ? opened.camera ?? "" : select.value;
  select.replaceChildren(h("option", { value: "" }, "as below"), ...cameras.map((name) => h("option", { value: name }, name)));
  select.value = [measurement?.file, mask?.file, state.suggested_camera].some(isNew) ? state.suggested_camera ?? "" : before;
  if (select.selectedIndex < 0) select.value = "";
  select.parentElement.hidden = !cameras.length;
  if (opened) for (const name of TYPED) elements[name].value = opened[name] ?? "";
  drawn = told;
  arrived.clear();
}

/** A camera file takes the place of some fields. */
function drawCamera() {
  const { elements } = $("roles");
  const camera = elements.camera.value;
  if (camera) elements.mask.value = "";
  else if (elements.mask.disabled) elements.mask.value = named(state.suggested.mask);
  elements.mask.options[0].textContent = camera ? "in the camera file" : "in the file of the measurement";
  for (const name of OF_A_CAMERA) elements[name].disabled = Boolean(camera);
  $("fits").hidden = Boolean(camera) || ["measurement", "mask"].some((role) => elements[role].value !== named(state.suggested[role]));
}

/** A library that has come: its spectrum is drawn where it has only one. */
function showLibrary({ name, spectra }) {
  const library = state.libraries.find((each) => each.replace(/\.\w+$/, "") === name.replace(/\.\w+$/, ""));
  if (spectra.length === 1 && library && state.scene?.wavelengths) setReferences([...view.references, { file: library, index: 0 }]);
  notify(`${name}: ${spectra.length} ${spectra.length === 1 ? "spectrum" : "spectra"} to draw beside those of the scene`);
}

/** What the form says is to be opened. */
function chosen() {
  const body = {};
  const { elements } = $("roles");
  for (const role of ROLES) {
    const { value, disabled } = elements[role];
    if (value && !disabled) body[role] = JSON.parse(value);
  }
  for (const name of ["camera", ...TYPED]) {
    if (!elements[name].disabled) body[name] = elements[name].value.trim();
  }
  return body;
}

const openChosen = (isProposed = false) => opened(post("/api/open", chosen()), isProposed);

let isTyped = false; // and not opened yet
let timer = null;

/** Which weights would fit what is typed, or why it cannot be opened. */
async function judgeTyped() {
  const body = chosen();
  try {
    const fits = await post("/api/fit", body, { quiet: true });
    if (JSON.stringify(body) !== JSON.stringify(chosen())) return;
    const texts = Object.entries(fits).map(([name, reason]) => (reason === null ? `${name} fits.` : `${name} does not fit: ${reason}.`));
    $("typed").textContent = texts.join(" ");
    if (state.scene?.request) emit("fits", fits);
  } catch (error) { $("typed").textContent = error.message; }
  $("typed").scrollIntoView({ block: "nearest" }); // it stands at the end of a long column
}
$("roles").oninput = () => {
  drawCamera();
  isTyped = true;
  clearTimeout(timer);
  timer = setTimeout(judgeTyped, TYPING_MS);
};

/** Open what was typed and not opened yet, where what is open comes from this form. */
export const openTyped = async () => { if (isTyped && state.scene?.request) await openChosen(); };
$("roles").onsubmit = (event) => { event.preventDefault(); openChosen().catch(() => {}); };
$("forget").onclick = () => $("forget-box").showModal();
$("forget-all").onclick = async () => {
  await post("/api/forget");
  location.replace("/"); // nothing of the page stays either
};

async function opened(promise, isProposed) {
  await promise;
  clearTimeout(timer);
  isTyped = false;
  $("typed").textContent = "";
  await refresh(isProposed);
  notify(state.scene ? `${state.scene.name} is open` : "");
}

function drawSamples() {
  $("samples").replaceChildren(...state.samples.map(({ name, title }) => {
    const button = h("button", { type: "button", onclick: () => opened(post("/api/open", { sample: name }), true).catch(() => {}) }, title);
    button.setAttribute("aria-pressed", title.endsWith(` ${Number(state.scene?.name.split("_")[1])}`));
    return button;
  }));
}

on("state", () => { drawSamples(); drawFiles(); });
