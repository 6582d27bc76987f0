// Downloads the visible rows and columns of a table, in their current order, as CSV, Markdown or LaTeX.
(() => {
  const squeezed = (text) => text.replace(/\s+/g, " ").trim();

  function textOf(cell) {
    const parts = cell.querySelectorAll(".name, .mean, small");
    return squeezed(parts.length ? [...parts].map((part) => part.textContent).join(" ") : cell.textContent);
  }

  function linesOf(table) {
    const heads = tables.headers(table);
    const groups = [...table.tHead.rows[0].querySelectorAll(".group")].flatMap((group) =>
      Array(Number(group.dataset.span ?? group.colSpan)).fill(squeezed(group.textContent)),
    );
    const names = heads.map((th, k) => squeezed(`${k ? groups[k - 1] : ""} ${th.textContent}`));
    const shown = heads.map((th) => !th.hidden);
    const offset = tables.offsetOf(table);
    const rows = [...table.tBodies[0].rows, ...(table.tFoot?.rows ?? [])].filter((row) => !row.hidden);
    const lines = rows.map((row) => [...row.cells].slice(offset).map(textOf));
    return [names, ...lines].map((line) => line.filter((_, k) => shown[k]));
  }

  const isNumber = (text) => /^[+-]?[\d.]+( ± [\d.]+)?$/.test(text);
  const plain = (text) => (/^[=+\-@]./.test(text) && !isNumber(text) ? `'${text}` : text); // no formula
  const quoted = (text) => (/[",\n]/.test(plain(text)) ? `"${plain(text).replaceAll('"', '""')}"` : plain(text));
  const LATEX = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "±": "$\\pm$", "−": "$-$", "—": "---", "Δ": "$\\Delta$", "×": "$\\times$" };
  const escaped = (text) => text.replace(/[\\~^±−—Δ×]|[&%$#_{}]/g, (sign) => LATEX[sign] ?? `\\${sign}`);

  const FORMATS = {
    CSV: ["csv", "text/csv", (lines) => lines.map((line) => line.map(quoted).join(",")).join("\r\n") + "\r\n"],
    Markdown: [
      "md",
      "text/markdown",
      ([head, ...body]) =>
        [head, head.map((_, k) => (k ? "---:" : "---")), ...body]
          .map((line) => `| ${line.map((text) => text.replaceAll("|", "\\|")).join(" | ")} |\n`)
          .join(""),
    ],
    LaTeX: [
      "tex",
      "text/x-tex",
      ([head, ...body]) => {
        const line = (cells) => `${cells.map(escaped).join(" & ")} \\\\\n`;
        return `\\begin{tabular}{l${"r".repeat(head.length - 1)}}\n\\toprule\n${line(head)}\\midrule\n${body.map(line).join("")}\\bottomrule\n\\end{tabular}\n`;
      },
    ],
  };

  function save(table, [ending, type, write]) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([write(linesOf(table))], { type: `${type};charset=utf-8` }));
    link.download = `${table.id}.${ending}`;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  for (const table of document.querySelectorAll("table.data")) {
    const line = document.createElement("p");
    line.className = "take";
    line.append("Download this view as ");
    Object.entries(FORMATS).forEach(([name, format], k) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = name;
      button.addEventListener("click", () => save(table, format));
      line.append(k ? ", " : "", button);
    });
    table.closest(".scroll").after(line);
  }
})();
