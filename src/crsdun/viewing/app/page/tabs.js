// The tabs on the left: open, decode, simulate. The choice of the method moves to whichever needs it.
import { $ } from "./dom.js";

const tabs = [...document.querySelectorAll("[role=tab]")];

export function showTab(tab) {
  for (const each of tabs) {
    const isShown = each === tab;
    each.setAttribute("aria-selected", isShown);
    each.tabIndex = isShown ? 0 : -1;
    $(each.getAttribute("aria-controls")).hidden = !isShown;
  }
  const place = $(tab.getAttribute("aria-controls")).querySelector(".method-here");
  $("method").hidden = !place;
  if (place) place.append($("method"));
}

tabs.forEach((tab, index) => {
  tab.onclick = () => showTab(tab);
  tab.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs[(index + step + tabs.length) % tabs.length];
    showTab(next);
    next.focus();
  };
});
showTab(tabs[0]);
