// Regions, the cross, and the polygon that is being drawn, over a picture on the page; and regions in a saved one.
import { append } from "./chart.js";
import { h } from "./dom.js";
import { isPixel, state, view } from "./state.js";

const outline = (rings) => rings.map((ring) => `M${ring.map((vertex) => vertex.join()).join("L")}Z`).join("");

/** Where the number of a region stands. */
const corner = (region) => (region.rings ? region.rings[0][0] : isPixel(region) ? [region.left + 0.5, region.top + 0.5] : [region.left, region.top]);

const percent = (value, whole) => `${(100 * value) / whole}%`;
const at = ([x, y]) => ({ left: percent(x, state.scene.width), top: percent(y, state.scene.height) });

/** Draw lines over the picture, dark along their sides so that they are seen on everything. */
function traces(paths) {
  const { height, width } = state.scene;
  const svg = append(document.createElement("div"), "svg", { class: "outlines", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  for (const [d, colour] of paths) {
    append(svg, "path", { class: "halo", d });
    append(svg, "path", { class: "line", d }).style.stroke = colour;
  }
  return svg;
}

function mark(region, className, colour) {
  const size = isPixel(region) ? {} : { width: percent(region.width, state.scene.width), height: percent(region.height, state.scene.height) };
  return h("div", { className, style: { ...at(corner(region)), ...size, borderColor: colour } });
}

/** Mark the regions that are kept in an element that covers the picture. */
export function drawRegions(element) {
  const marks = view.points.flatMap((region, index) => {
    const badge = h("i", { className: "number", title: "drag it to move the region", style: { ...at(corner(region)), background: region.colour } }, String(index + 1));
    badge.dataset.region = index;
    return region.rings ? [badge] : [mark(region, isPixel(region) ? "mark pixel" : "mark box", region.colour), badge];
  });
  element.replaceChildren(traces(view.points.filter(({ rings }) => rings).map(({ rings, colour }) => [outline(rings), colour])), ...marks);
}

/** Mark the cross, and the polygon that is being drawn up to there. */
export function drawCross(element) {
  const { cross, draft } = view;
  const line = [...draft, ...(cross ? [[cross.left + 0.5, cross.top + 0.5]] : [])];
  element.replaceChildren(
    ...(draft.length ? [traces([[`M${line.map((vertex) => vertex.join()).join("L")}`, "#fff"]])] : []),
    ...draft.map((vertex) => h("div", { className: "vertex", style: at(vertex) })),
    ...(cross ? [mark(cross, isPixel(cross) ? "cross" : "mark box", "#fff")] : []));
}

/** The same regions in a saved picture, which lies at `left`, `top` and is `width` by `height`. */
export function paintMarks(context, [left, top, width, height]) {
  const { scene } = state;
  const x = (value) => left + (value / scene.width) * width, y = (value) => top + (value / scene.height) * height;
  view.points.forEach((region, index) => {
    Object.assign(context, { strokeStyle: region.colour, lineWidth: 2, fillStyle: region.colour, font: "700 12px system-ui, sans-serif" });
    context.beginPath();
    if (region.rings) {
      for (const ring of region.rings) {
        ring.forEach((vertex, place) => context[place ? "lineTo" : "moveTo"](x(vertex[0]), y(vertex[1])));
        context.closePath();
      }
    } else if (isPixel(region)) context.arc(x(region.left + 0.5), y(region.top + 0.5), 5, 0, 2 * Math.PI);
    else context.rect(x(region.left), y(region.top), (region.width / scene.width) * width, (region.height / scene.height) * height);
    context.stroke();
    const [across, down] = corner(region);
    context.fillText(String(index + 1), x(across) + 7, y(down) - 5);
  });
}
