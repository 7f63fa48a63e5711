"use strict";
(() => {
  const form = document.querySelector("form");
  const checks = [...document.querySelectorAll("[data-verdict]")];
  const filter = () => {
    const wanted = new Set([...form.querySelectorAll("input[name=verdict]:checked")].map((box) => box.value));
    const area = form.elements.area.value;
    const text = form.elements.text.value.trim().toLowerCase();
    let shown = 0;
    for (const check of checks) {
      const fits = wanted.has(check.dataset.verdict) && (!area || check.dataset.area === area)
        && (!text || check.dataset.text.includes(text));
      check.classList.toggle("hidden", !fits);
      shown += fits ? 1 : 0;
    }
    for (const section of document.querySelectorAll("section.area")) {
      section.classList.toggle("hidden", !section.querySelector("[data-verdict]:not(.hidden)"));
    }
    document.getElementById("shown").textContent = `${shown} shown`;
  };
  if (form) {
    // What a link leads to must not lie under the bar, which is higher where it wraps.
    const bar = () => document.documentElement.style.setProperty("--bar", `${form.offsetHeight}px`);
    addEventListener("resize", bar);
    bar();
    form.addEventListener("input", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    filter();
  }
  const open = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    target.classList.remove("hidden");
    target.closest("section.area")?.classList.remove("hidden");
    if (target.tagName === "DETAILS") target.open = true;
    target.scrollIntoView();
  };
  // On paper nothing can be opened.
  addEventListener("beforeprint", () => document.querySelectorAll("details.check:not(.hidden)").forEach((check) => { check.open = true; }));
  addEventListener("hashchange", open);
  open();
  const data = document.getElementById("data");
  const dialog = document.querySelector("dialog");
  if (data && dialog) {
    const rows = JSON.parse(data.textContent);
    const line = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });
    document.querySelector("table.matrix").addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      const row = rows[button.dataset.row];
      const body = dialog.querySelector("div");
      body.replaceChildren(line("h2", `${button.dataset.check} in ${row.name}`));
      for (const number of button.dataset.outcomes.split(" ")) {
        const outcome = row.outcomes[number];
        body.append(line("p", `${outcome.subject}: ${outcome.verdict}${outcome.reason ? ": " + outcome.reason : ""}`));
        body.append(line("p", outcome.claim));
        const list = document.createElement("ul");
        for (const e of outcome.expectations) {
          list.append(line("li", `${e.holds ? "passed" : "FAILED"}: ${e.what}: observed ${e.observed}, expected ${e.expected}`));
        }
        for (const note of outcome.notes) list.append(line("li", note));
        body.append(list);
        body.append(line("code", `plimsoll matrix --row ${row.name} ${button.dataset.check}`));
      }
      dialog.showModal();
    });
  }
})();
