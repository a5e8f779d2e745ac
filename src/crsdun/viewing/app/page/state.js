// What the server reported last, how it is looked at, and who wants to know when either changes.

export const TRUTH = "truth";
export const UNKNOWN = 255; // among the numbers of classes: a pixel that has none

export let state = null; // as GET /api/state answered
export const setState = (next) => { state = next; };

export const view = {
  mode: "colour", band: 0, rgb: [0, 0, 0], stretch: false, stage: 1, opacity: 0, count: 2, swipe: false, split: 0.5, hidden: new Set(),
  low: null, high: null, colours: "", map: "association", layers: [TRUTH, TRUTH], points: [], active: null, cross: null, all: false, zoom: 1, centre: [0.5, 0.5],
  tool: "point", draft: [], references: [],
};

export const layer = (name) => state.scene?.layers.find((each) => each.name === name);
export const stages = () => Math.max(1, ...(state.scene?.layers ?? []).map((each) => each.stages));
/** The layers in the order in which a list should prefer them: shown ones first, the last picture before the first. */
export const preferred = () => [...view.layers.slice(0, view.count).reverse().map(layer), ...(state.scene?.layers ?? [])].filter(Boolean);
export const bandName = (band) => (state.scene?.wavelengths ? `${state.scene.wavelengths[band].toFixed(1)} nm` : `band ${band + 1}`);
/** Whether the pictures are maps of one value for each pixel, other than the bands. */
export const isMap = () => !["colour", "false", "band"].includes(view.mode);
export const isPixel = ({ rings, height, width }) => !rings && height * width === 1;

// Events: "state" the server's state is new · "scene" so is what is open (before "state") · "view" other pictures ·
// "stage" another stage · "points" kept regions changed · "active" another of them is shown · "cross" the cross moved ·
// "keep" a region shall be kept · "moving" one of them is being moved · "draft" the polygon that is being drawn changed ·
// "spectrum" the spectrum of a region is shown · "references" other reference spectra are chosen · "lines" they were read · "mode" another kind of
// picture is shown, whose values are others · "enlarged" the part of the pictures that is seen · "restored" the view is that
// of an address · "running" a computation was asked for, or has ended · "fits" which weights fit was found out · "stale" a request spoke of something that is no longer open.
const listeners = {};
export function on(names, listener) {
  for (const name of names.split(" ")) (listeners[name] ??= []).push(listener);
}
/** Resolves when all listeners are done. */
export const emit = (name, detail) => Promise.all((listeners[name] ?? []).map((listener) => listener(detail)));
