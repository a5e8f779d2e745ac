// The pictures as they are seen, as a file: titles, crop, classes, marks and scale.
import { short } from "./contrast.js";
import { $, h, save } from "./dom.js";
import { paintMarks } from "./marks.js";
import { panes } from "./panes.js";
import { state, view } from "./state.js";

const GAP = 10, LINE = 22;

/** Side by side, or with one over the other as they are swiped. */
function composite() {
  const shown = panes.slice(0, view.count), ratio = Math.max(2, devicePixelRatio);
  const style = getComputedStyle(document.body), ink = style.color;
  const { clientWidth: W, clientHeight: H } = shown[0].box;
  const columns = view.swipe ? 1 : shown.length;
  const whole = h("canvas", { width: ratio * (columns * (W + GAP) - GAP), height: ratio * (H + 2 * LINE) });
  const context = whole.getContext("2d");
  context.scale(ratio, ratio);
  Object.assign(context, { fillStyle: style.backgroundColor, imageSmoothingEnabled: false, font: "13px system-ui, sans-serif", textBaseline: "middle" });
  context.fillRect(0, 0, whole.width, whole.height);
  shown.forEach((pane, index) => {
    const left = view.swipe ? 0 : index * (W + GAP), seen = view.swipe && index ? view.split * W : 0;
    const isRight = view.swipe && index === 1;
    Object.assign(context, { fillStyle: ink, textAlign: isRight ? "right" : "left", font: "13px system-ui, sans-serif" });
    context.fillText([view.layers[index], pane.figures.textContent].filter(Boolean).join(" · "), isRight ? W : left, LINE / 2, view.swipe ? W / 2 : W);
    context.save();
    context.beginPath();
    context.rect(left + seen, LINE, W - seen, H);
    context.clip();
    if (isRight) {
      context.fillStyle = style.backgroundColor;
      context.fillRect(seen, LINE, W, H);
    }
    context.translate(left, LINE);
    const place = ["left", "top", "width", "height"].map((name) => parseFloat(pane.stack.style[name]));
    context.drawImage(pane.canvas, ...place);
    context.globalAlpha = view.opacity / 100;
    context.drawImage(pane.over, ...place);
    context.globalAlpha = 1;
    if (!pane.flat) paintMarks(context, place);
    context.restore();
  });
  context.textAlign = "left";
  if (view.swipe) {
    context.fillStyle = ink;
    context.fillRect(view.split * W - 1, LINE, 2, H);
  }
  paintScale(context, shown.at(-1).legend, H + 1.5 * LINE, ink);
  return whole;
}

function paintScale(context, legend, y, ink) {
  const limits = legend.low === null ? "" : `   ${short(legend.low)} … ${short(legend.high)}`;
  const text = `${legend.text}${view.mode === "band" || view.mode === "difference" ? `, ${$("band-value").textContent}` : ""}${limits}`;
  Object.assign(context, { fillStyle: ink, font: "12px system-ui, sans-serif" });
  context.fillText(text, 0, y);
  if (legend.low === null) return;
  const start = context.measureText(text).width + 12, ramp = context.createLinearGradient(start, 0, start + 120, 0);
  state.maps[legend.map].forEach((stop, index, { length }) => ramp.addColorStop(index / (length - 1), stop));
  context.fillStyle = ramp;
  context.fillRect(start, y - 5, 120, 10);
}

$("save-view").onclick = () => {
  const name = [state.scene.name, ...view.layers.slice(0, view.count), view.mode].join("-");
  composite().toBlob((blob) => save(blob, `${name}.png`.replace(/[^\w.-]+/g, "_")));
};
