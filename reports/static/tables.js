// Sorting by any column, by click and by keyboard. aria-sort announces it to screen readers.
const tables = (() => {
  // The headers of the columns of a body row, including that of the row's own heading.
  function headers(table) {
    const [first, second] = table.tHead.rows;
    const corner = first.querySelector(".corner");
    return corner ? [corner, ...second.cells] : [];
  }

  // The number of cells before the row's own heading.
  const offsetOf = (table) => (table.querySelector("thead .rank") ? 1 : 0);

  function valueOf(row, index, offset) {
    const cell = row.cells[index + offset];
    const text = cell.dataset.value ?? "";
    return index === 0 ? text.toLowerCase() : text === "" ? null : Number(text);
  }

  function rank(table) {
    if (!offsetOf(table)) return;
    const sorted = headers(table).findIndex((th) => th.getAttribute("aria-sort") !== "none");
    let position = 0;
    for (const row of table.tBodies[0].rows) {
      if (row.hidden) continue;
      row.cells[0].textContent = valueOf(row, Math.max(sorted, 0), 1) === null ? "–" : String(++position);
    }
  }

  function sort(table, index, direction) {
    const offset = offsetOf(table);
    const sign = direction === "descending" ? -1 : 1;
    const rows = [...table.tBodies[0].rows].map((row) => [row, valueOf(row, index, offset)]);
    rows.sort(([, a], [, b]) => {
      if (a === null || b === null) return (a === null) - (b === null); // blanks come last in both directions
      return a < b ? -sign : a > b ? sign : 0;
    });
    table.tBodies[0].append(...rows.map(([row]) => row));
    headers(table).forEach((th, k) => th.setAttribute("aria-sort", k === index ? direction : "none"));
    rank(table);
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
        view.remember(`sort.${table.id}`, `${index}.${next}`);
      });
    });
    const kept = /^(\d+)\.(ascending|descending)$/.exec(view.get(`sort.${table.id}`));
    if (kept && Number(kept[1]) < headers(table).length) sort(table, Number(kept[1]), kept[2]);
  }
  return { headers, offsetOf, rank };
})();
