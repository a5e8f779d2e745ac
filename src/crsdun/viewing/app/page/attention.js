// Where a network looks from the active point: both branches, at the stage of the slider.
import { postForBlob } from "./api.js";
import { $, h } from "./dom.js";
import { asked } from "./regions.js";
import { on, preferred, state, view } from "./state.js";

const MAPS = { association: "super-tokens it belongs to", attention: "super-tokens they attend to", sources: "pixels it receives from" };

function drawAttention() {
  const shown = preferred().find((each) => each.blocks.length);
  const point = view.points[view.active];
  $("attention").hidden = !shown || !point;
  if (!shown || !point) return;
  const select = h("select", { onchange: () => { view.map = select.value; drawAttention(); } },
    ...Object.entries(MAPS).map(([value, text]) => h("option", { value, selected: value === view.map }, text)));
  select.setAttribute("aria-label", "which attention map to show");
  const stage = Math.min(view.stage, shown.stages);
  const blocks = shown.blocks.map((block, index) => ({ ...block, index })).filter((block) => block.stage === stage);
  // The first block of a branch at each size.
  const first = [2, 1].flatMap((node) => ["cube", "class"].map((branch) => blocks.find((block) => block.node === node && block.branch === branch)));
  const figures = first.filter(Boolean).map((block) => {
    const caption = `${block.branch} branch, ${block.node === 1 ? "full size" : "half size"}`;
    const image = h("img", { alt: `${caption}: ${MAPS[view.map]}` });
    postForBlob("/api/attention", { layer: shown.name, block: block.index, map: view.map, ...asked(point) }).then((blob) => {
      image.src = URL.createObjectURL(blob);
      image.onload = () => URL.revokeObjectURL(image.src);
    }).catch(() => {});
    image.style.setProperty("--ratio", `${state.scene.width} / ${state.scene.height}`);
    return h("figure", {}, image, h("figcaption", {}, caption));
  });
  const nothing = h("p", { className: "hint" }, `Stage ${stage} has no cross-aggregation; move the stage slider.`);
  $("attention").replaceChildren(h("div", { className: "head" }, h("h2", {}, `Where ${shown.name} looks from ${point.name}`)), select,
    figures.length ? h("div", { className: "maps" }, ...figures) : nothing);
}
on("state stage points active", drawAttention);
