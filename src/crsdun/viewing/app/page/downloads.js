// The files of a result, singly or as an archive.
import { address, request } from "./api.js";
import { $, h } from "./dom.js";
import { state, TRUTH, view } from "./state.js";

$("download").onclick = async () => {
  const names = (state.scene?.layers ?? []).map((each) => each.name).filter((name) => name !== TRUTH);
  $("download-layer").replaceChildren(...names.map((name) => h("option", { value: name, selected: name === view.layers[view.count - 1] }, name)));
  $("downloads").showModal();
  await list();
};
$("download-layer").onchange = list;

async function list() {
  const layer = $("download-layer").value;
  if (!layer) { $("download-files").replaceChildren(h("li", {}, "There is no result yet: decode first.")); return; }
  $("download-files").replaceChildren(h("li", {}, "writing the files …"));
  let files;
  try { files = await (await request(`/api/downloads?layer=${encodeURIComponent(layer)}`)).json(); }
  catch (error) { $("download-files").replaceChildren(h("li", { className: "bad" }, error.message)); return; }
  const entry = (name, size, text = name) =>
    h("li", {}, h("a", { href: address(`/api/download/${name}`, { layer }), download: name }, text), h("span", {}, size));
  const size = (bytes) => (bytes > 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${Math.ceil(bytes / 1e3)} kB`);
  $("download-files").replaceChildren(entry("everything.zip", "", "everything as .zip"), ...files.map(({ name, bytes }) => entry(name, size(bytes))));
}
