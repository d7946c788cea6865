// Tips of glossary terms stay inside the window and close with Escape; things have names; what is folded opens for paper.
(() => {
  const place = (term) => {
    const tip = term.querySelector(".fk-tip");
    const box = term.getBoundingClientRect();
    const line = term.firstElementChild.getClientRects()[0] ?? box;
    tip.style.left = `${Math.max(8, Math.min(line.left, document.documentElement.clientWidth - tip.offsetWidth - 8))}px`;
    const below = line.bottom + tip.offsetHeight < window.innerHeight;
    tip.style.top = `${below ? line.bottom : line.top - tip.offsetHeight}px`;
  };
  const shown = (event) => event.target.closest?.(".fk-term");
  for (const kind of ["mouseover", "focusin"]) {
    document.addEventListener(kind, (event) => {
      const term = shown(event);
      if (!term) return;
      if (event.type === "focusin" || !term.contains(event.relatedTarget)) term.classList.remove("fk-closed");
      place(term);
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    document.querySelectorAll(".fk-term:hover, .fk-term:focus-within").forEach((term) => term.classList.add("fk-closed"));
  });
  // names as they are read: a button is called what stands on it, an arrow what it opens
  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll(".search-button-field, details.hide > summary").forEach((it) => it.removeAttribute("aria-label"));
    document.querySelectorAll("nav details > summary").forEach((it) => {
      const link = it.closest("li")?.querySelector("a");
      if (!it.textContent.trim() && link) it.setAttribute("aria-label", `Pages below: ${link.textContent.trim()}`);
    });
  });
  // what a search shows of a page is what a reader reads there, a blank between two cells of a table
  document.addEventListener("DOMContentLoaded", () => {
    if (typeof Search === "undefined") return;
    const plain = Search.htmlToText;
    Search.htmlToText = (html, anchor) => {
      const page = new DOMParser().parseFromString(html, "text/html");
      const around = ".bd-header-article, .bd-sidebar-secondary, .prev-next-area, .onlyprint, .fk-tip, footer";
      page.querySelectorAll(around).forEach((it) => it.remove());
      page.querySelectorAll("dt, dd, td, th, p, li, h1, h2, h3, h4").forEach((it) => it.append(" "));
      return plain(page.documentElement.outerHTML, anchor);
    };
  });
  // on paper everything is open, and dark on white
  const root = document.documentElement;
  let opened = [];
  let mode;
  window.addEventListener("beforeprint", () => {
    mode = root.dataset.theme;
    root.dataset.theme = "light";
    opened = [...document.querySelectorAll("details:not([open])")];
    opened.forEach((details) => (details.open = true));
  });
  window.addEventListener("afterprint", () => {
    root.dataset.theme = mode;
    opened.forEach((details) => (details.open = false));
  });
})();
