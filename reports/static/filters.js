// The controls above a table: a search box, one choice for each facet of its rows, and one for its columns.
const filters = (() => {
  const FACET = "facet";
  const textOf = (th) => th.textContent.trim(); // also for a hidden header

  function control(table, name, label, element) {
    const key = `${name}.${table.id}`;
    const box = document.createElement("label");
    element.value = view.get(key);
    if (element.selectedIndex === -1) element.value = ""; // the URL has a choice that this table does not offer
    element.addEventListener("input", () => {
      apply(table);
      view.remember(key, element.value.trim());
    });
    box.append(label, element);
    return box;
  }

  function choice(name, values, every) {
    const select = document.createElement("select");
    select.dataset.name = name;
    select.append(new Option(every, ""), ...values.map((value) => new Option(value, value)));
    return select;
  }

  function facetsOf(table) {
    const rows = [...table.tBodies[0].rows];
    const names = new Set(rows.flatMap((row) => Object.keys(row.dataset)).filter((name) => name.startsWith(FACET)));
    const found = [...names].map((name) => [name, [...new Set(rows.map((row) => row.dataset[name] ?? ""))].sort()]);
    return found.filter(([, values]) => values.length > 1);
  }

  // The column labels that repeat under every group, e.g. unified, separate and their difference.
  function columnsOf(table) {
    const groups = table.tHead.rows[0].querySelectorAll(".group").length;
    const labels = [...new Set(tables.headers(table).slice(1).map(textOf))];
    return groups > 1 && labels.length > 1 ? labels : [];
  }

  function apply(table) {
    const bar = document.getElementById(`${table.id}-tools`);
    const words = bar.querySelector("input").value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = [...bar.querySelectorAll("select")].filter((select) => select.value);
    const facets = chosen.filter((select) => select.dataset.name.startsWith(FACET));
    for (const row of table.tBodies[0].rows) {
      const name = (row.dataset.name ?? "").toLowerCase();
      row.hidden =
        !words.every((word) => name.includes(word)) ||
        facets.some((select) => (row.dataset[select.dataset.name] ?? "") !== select.value);
    }
    tables.rank(table);
    showColumns(table, chosen.find((select) => select.dataset.name === "columns")?.value ?? "");
  }

  function showColumns(table, wanted) {
    const heads = tables.headers(table);
    const shown = heads.map((th, k) => k === 0 || !wanted || textOf(th) === wanted);
    heads.forEach((th, k) => (th.hidden = !shown[k]));
    const offset = tables.offsetOf(table);
    for (const row of [...table.tBodies[0].rows, ...(table.tFoot?.rows ?? [])]) {
      shown.forEach((show, k) => (row.cells[k + offset].hidden = !show));
    }
    let column = 1;
    for (const group of table.tHead.rows[0].querySelectorAll(".group")) {
      group.dataset.span ??= String(group.colSpan);
      const span = Number(group.dataset.span);
      group.colSpan = Math.max(1, shown.slice(column, column + span).filter(Boolean).length);
      column += span;
    }
  }

  for (const table of document.querySelectorAll("table.data[data-filter]")) {
    const bar = document.createElement("div");
    bar.className = "tools";
    bar.id = `${table.id}-tools`;
    const search = document.createElement("input");
    search.type = "search";
    bar.append(control(table, "filter", table.dataset.filter, search));
    for (const [name, values] of facetsOf(table)) {
      const label = name.slice(FACET.length).replace(/(?!^)([A-Z])/g, " $1");
      bar.append(control(table, name, label, choice(name, values, "any")));
    }
    const columns = columnsOf(table);
    if (columns.length) bar.append(control(table, "columns", "Columns", choice("columns", columns, "all")));
    table.closest(".scroll").before(bar);
    apply(table);
  }
})();
