// The values under the cross, in figures, and read out when it rests.
import { request } from "./api.js";
import { short } from "./contrast.js";
import { $ } from "./dom.js";
import { bandName, isPixel, on, state, view } from "./state.js";

const REST_MS = 600;
let timer = null;

/** Show a text beside the scale, and let a screen reader say it when no other follows. */
function show(text) {
  $("values").textContent = text;
  clearTimeout(timer);
  timer = setTimeout(() => { $("spoken").textContent = text; }, REST_MS);
}

/** Of the spectra at the cross: every layer at the shown band. */
export function showSpectra(point, spectra) {
  if (!point || !spectra) { show(""); return; }
  const place = isPixel(point) ? `row ${point.top}, column ${point.left}` : `${point.height}×${point.width} pixels`;
  const values = state.scene.layers.filter(({ name }) => spectra[name])
    .map(({ name }) => `${name} ${short(spectra[name].mean[view.band])}`);
  show(`${place}, ${bandName(view.band)}: ${values.join(", ")}`);
}

let busy = false, latest = null;
/** Of a map: the value at a pixel of the picture at this address. */
export async function showMap(path, top, left) {
  latest = { path, top, left };
  if (busy) return;
  busy = true;
  let wanted;
  try {
    do {
      wanted = latest;
      const query = wanted.path.replace("/api/picture?", "");
      const { value, text } = await (await request(`/api/value?${query}&top=${wanted.top}&left=${wanted.left}`)).json();
      if (text) show(`row ${wanted.top}, column ${wanted.left}: ${text} ${short(value)}`);
    } while (wanted !== latest);
  } catch { /* shown already */ } finally { busy = false; }
}

on("cross", () => { if (!view.cross) show(""); });
