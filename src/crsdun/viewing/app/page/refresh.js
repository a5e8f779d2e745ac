// Read the server's state anew, and choose what to show of it.
import { readState } from "./api.js";
import { notify } from "./dom.js";
import { emit, on, stages, state, TRUTH, view } from "./state.js";

const SAME = ["name", "bands", "height", "width", "wavelengths"]; // what makes a scene the same as before

/** Returns whether another scene is open than before; isProposed: the page opened it, not somebody by the form. */
export async function refresh(isProposed = false) {
  const before = state?.scene;
  await readState();
  const { scene } = state;
  const isNew = scene && !(before && SAME.every((key) => String(before[key]) === String(scene[key])));
  if (isNew) {
    Object.assign(view, { points: [], active: null, cross: null, band: Math.floor(scene.bands / 2) });
    view.rgb = [5, 3, 1].map((sixth) => Math.floor((sixth * scene.bands) / 6));
    view.hidden = new Set(scene.classes[0]?.name === "background" ? [0] : []); // it would cover most scenes
  }
  const names = (scene?.layers ?? []).map((each) => each.name);
  const fresh = names.filter((name) => !before?.layers.some((each) => each.name === name) && name !== TRUTH);
  const shown = view.layers;
  if (!names.includes(shown[0])) shown[0] = names[0] ?? TRUTH;
  if (fresh.length || !names.includes(shown[1])) shown[1] = fresh[0] ?? names.find((name) => name !== TRUTH) ?? names[0] ?? TRUTH;
  if (fresh.length && !names.includes(TRUTH) && names.length > 1) shown[0] = names.find((name) => name !== shown[1]);
  if (fresh.length || isNew || !scene) Object.assign(view, { stage: stages(), count: names.length > 1 ? 2 : 1 });
  view.swipe &&= view.count === 2;
  if (isNew) emit("scene", isProposed);
  const drawn = emit("state");
  emit("view");
  await drawn;
  return isNew;
}

let refreshing = null;
on("stale", (text) => {
  refreshing ??= refresh().then((isNew) => { if (isNew) notify(`${text}; it is shown as it is now`); }).finally(() => { refreshing = null; });
});
