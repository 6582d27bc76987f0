// Sorts and filters tables and keeps the view in the URL's hash. The page is complete without it.
(() => {
  "use strict";
  const state = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
  let ready = false;

  function remember(key, value) {
    if (value) state.set(key, value);
    else state.delete(key);
    const hash = state.toString();
    if (ready) history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  }

  // Columns as they stand in a body row: the row's own heading is one of them.
  function headers(table) {
    const [first, second] = table.tHead.rows;
    const corner = first.querySelector(".corner");
    return corner ? [corner, ...second.cells] : [];
  }

  function valueOf(row, index, offset) {
    const cell = row.cells[index + offset];
    const text = cell.dataset.value ?? "";
    return index === 0 ? text.toLowerCase() : text === "" ? null : Number(text);
  }

  function sort(table, index, direction) {
    const offset = table.querySelector("thead .rank") ? 1 : 0;
    const sign = direction === "descending" ? -1 : 1;
    const rows = [...table.tBodies[0].rows].map((row) => [row, valueOf(row, index, offset)]);
    rows.sort(([, a], [, b]) => {
      if (a === null || b === null) return (a === null) - (b === null); // blanks last, whatever the direction
      return a < b ? -sign : a > b ? sign : 0;
    });
    rows.forEach(([row, value], place) => {
      if (offset) row.cells[0].textContent = value === null ? "–" : String(place + 1);
      table.tBodies[0].append(row);
    });
    headers(table).forEach((th, k) => th.setAttribute("aria-sort", k === index ? direction : "none"));
  }

  function filter(table, text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of table.tBodies[0].rows) {
      const name = (row.dataset.name ?? "").toLowerCase();
      row.hidden = !words.every((word) => name.includes(word));
    }
  }

  for (const table of document.querySelectorAll("table.data")) {
    table.classList.add("live");
    headers(table).forEach((th, index) => {
      th.querySelector("button").addEventListener("click", () => {
        const now = th.getAttribute("aria-sort");
        const first = index === 0 ? "ascending" : "descending";
        const other = first === "ascending" ? "descending" : "ascending";
        const next = now === first ? other : first;
        sort(table, index, next);
        remember(`sort.${table.id}`, `${index}.${next}`);
      });
    });
    const kept = /^(\d+)\.(ascending|descending)$/.exec(state.get(`sort.${table.id}`) ?? "");
    if (kept && Number(kept[1]) < headers(table).length) sort(table, Number(kept[1]), kept[2]);

    if (table.dataset.filter) {
      const label = document.createElement("label");
      const input = document.createElement("input");
      label.className = "tools";
      input.type = "search";
      input.value = state.get(`filter.${table.id}`) ?? "";
      input.addEventListener("input", () => {
        filter(table, input.value);
        remember(`filter.${table.id}`, input.value.trim());
      });
      label.append(table.dataset.filter, input);
      table.closest(".scroll").before(label);
      filter(table, input.value);
    }
  }

  for (const group of document.querySelectorAll(".switch")) {
    const choices = [...group.querySelectorAll(":scope > input")];
    const kept = choices[Number(state.get(`metric.${group.id}`))];
    if (kept) kept.checked = true;
    choices.forEach((choice, index) =>
      choice.addEventListener("change", () => remember(`metric.${group.id}`, index ? String(index) : "")),
    );
  }

  for (const link of document.querySelectorAll('nav a[href^="#"], .strip a[href^="#"]')) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      document.getElementById(link.hash.slice(1)).scrollIntoView();
      remember("at", link.hash.slice(1));
    });
  }
  document.getElementById(state.get("at") ?? "")?.scrollIntoView();
  window.addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
  ready = true;
})();
