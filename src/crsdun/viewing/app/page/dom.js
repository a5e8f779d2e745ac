// Elements of the page, and the status line.

export const $ = (id) => document.getElementById(id);

/** An element: h("p", { id: "a", onclick: f }, "text", child). */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "style") Object.assign(element.style, value);
    else if (name in element && !name.startsWith("aria")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function notify(text, isError = false) {
  $("status").textContent = text;
  $("status").title = text;
  $("status").classList.toggle("bad", isError);
}

export const isNumber = (value) => typeof value === "number"; // NaN and infinity arrive as null
export const fixed = (value, digits) => (value === undefined || value === null ? "–" : value.toFixed(digits));

/** Offer a blob as a file. */
export function save(blob, name) {
  const href = URL.createObjectURL(blob);
  h("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10000);
}
