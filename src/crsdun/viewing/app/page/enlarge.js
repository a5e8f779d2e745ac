// Which part of the pictures is seen: both are enlarged and moved together.
import { emit, on, view } from "./state.js";

const LARGEST = 32;
const within = (value) => Math.min(1, Math.max(0, value));

/** Enlarge by a factor around a place in the pictures (fractions of them); 0 shows them whole. */
export function zoom(by, at = view.centre) {
  const before = view.zoom;
  view.zoom = by ? Math.min(LARGEST, Math.max(1, view.zoom * by)) : 1;
  const pull = 1 - before / view.zoom;
  view.centre = view.zoom === 1 ? [0.5, 0.5] : view.centre.map((value, axis) => within(value + (at[axis] - value) * pull));
  emit("enlarged");
}

/** Look at a place further to the right and further down, by fractions of the pictures. */
export function pan(right, down) {
  view.centre = [within(view.centre[0] + right), within(view.centre[1] + down)];
  emit("enlarged");
}

on("scene", () => Object.assign(view, { zoom: 1, centre: [0.5, 0.5] }));
