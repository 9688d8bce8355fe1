// Tabs as the ARIA practices describe them: arrow keys move, the fragment of the address names the chosen one.

export function makeTabs(list, onShow) {
  const tabs = [...list.querySelectorAll('[role="tab"]')];
  const nameOf = (tab) => tab.getAttribute("aria-controls");

  function show(tab, hasFocus) {
    for (const each of tabs) {
      const isChosen = each === tab;
      each.setAttribute("aria-selected", String(isChosen));
      each.tabIndex = isChosen ? 0 : -1;
      document.getElementById(nameOf(each)).hidden = !isChosen;
    }
    if (hasFocus) tab.focus();
    tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    onShow(nameOf(tab));
  }

  function choose(tab, hasFocus) {
    history.replaceState(null, "", `${location.search}#${nameOf(tab)}`);
    show(tab, hasFocus);
  }

  function showNamed() {
    show(tabs.find((tab) => `#${nameOf(tab)}` === location.hash) ?? tabs[0], false);
  }

  list.addEventListener("click", (event) => {
    const tab = event.target.closest('[role="tab"]');
    if (tab) choose(tab, false);
  });
  list.addEventListener("keydown", (event) => {
    const now = tabs.indexOf(document.activeElement);
    const last = tabs.length - 1;
    const places = { ArrowRight: now === last ? 0 : now + 1, ArrowLeft: now ? now - 1 : last, Home: 0, End: last };
    if (now < 0 || !(event.key in places)) return;
    event.preventDefault();
    choose(tabs[places[event.key]], true);
  });
  window.addEventListener("hashchange", showNamed);
  showNamed();
}
