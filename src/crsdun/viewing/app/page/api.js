// Requests to the server. Each tab has a workspace of its own there.
import { notify } from "./dom.js";
import { emit, setState, state } from "./state.js";

let workspace = null;

/** Send a request; a refusal is thrown and, unless quiet, shown. */
export async function request(path, { quiet = false, ...options } = {}) {
  let response;
  const headers = { "x-crsdun": "page", "x-crsdun-token": localStorage.getItem("token") ?? "",
    "x-crsdun-workspace": workspace ?? "", "x-crsdun-version": state?.version ?? 0 };
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    notify("the explorer does not respond; is crsdun app still running?", true);
    throw new Error("no response");
  }
  if (!response.ok) {
    const { error } = await response.json().catch(() => ({}));
    const text = error || "unexpected error; the terminal of crsdun app shows where";
    if (response.status === 409) emit("stale", text);
    else if (!quiet) notify(text, true);
    throw new Error(text);
  }
  return response;
}

const send = (path, body, options) => request(path, { method: "POST", body: JSON.stringify(body), ...options });
export const post = async (path, body = {}, options = {}) => (await send(path, body, options)).json();
/** What the server answers with something other than JSON. */
export const postForBlob = async (path, body) => (await send(path, body)).blob();

/** An address with its query, for links and images, which send no headers. */
export const address = (path, query) => `${path}?${new URLSearchParams({ ...query, workspace, version: state.version })}`;

/** Take the workspace that this tab had before a reload, or a new one. */
export async function enter() {
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  if (code) {
    history.replaceState(null, "", "/");
    localStorage.setItem("token", (await post("/api/token", { code })).token);
  }
  const channel = new BroadcastChannel("crsdun-workspaces");
  const before = sessionStorage.getItem("workspace");
  const id = before && !(await isTaken(channel, before)) ? before : "";
  workspace = (await post("/api/workspace", { id })).id;
  sessionStorage.setItem("workspace", workspace);
  channel.onmessage = ({ data }) => { if (data.ask === workspace) channel.postMessage({ taken: workspace }); };
}

/** Whether another tab has this workspace: a duplicated tab gets a copy of the session storage. */
function isTaken(channel, id) {
  return new Promise((resolve) => {
    channel.onmessage = ({ data }) => { if (data.taken === id) resolve(true); };
    channel.postMessage({ ask: id });
    setTimeout(() => resolve(false), 100);
  });
}

export async function readState() {
  setState(await (await request("/api/state")).json());
}

const pictures = new Map(); // version and address → promise of a picture and its legend, or of classes; the latest last
const MOST_PICTURES = 60;

/** A picture with its legend, or the classes of all pixels. */
export async function fetched(path) {
  const key = `${state.version} ${path}`;
  if (!pictures.has(key)) {
    const content = readPicture(path);
    content.catch(() => pictures.delete(key));
    pictures.set(key, content);
    if (pictures.size > MOST_PICTURES) pictures.delete(pictures.keys().next().value);
  }
  return pictures.get(key);
}

async function readPicture(path) {
  const response = await request(path);
  if (path.startsWith("/api/classes")) return new Uint8Array(await response.arrayBuffer());
  return { legend: JSON.parse(response.headers.get("x-legend")), image: await createImageBitmap(await response.blob()) };
}
