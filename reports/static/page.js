// The metric switch, links that keep the view in the URL, and printing with all details open.
(() => {
  for (const group of document.querySelectorAll(".switch")) {
    const choices = [...group.querySelectorAll(":scope > input")];
    const kept = choices[Number(view.get(`metric.${group.id}`))];
    if (kept) kept.checked = true;
    choices.forEach((choice, index) =>
      choice.addEventListener("change", () => view.remember(`metric.${group.id}`, index ? String(index) : "")),
    );
  }

  for (const link of document.querySelectorAll('nav a[href^="#"], .strip a[href^="#"]')) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      document.getElementById(link.hash.slice(1)).scrollIntoView();
      view.remember("at", link.hash.slice(1));
    });
  }
  document.getElementById(view.get("at"))?.scrollIntoView();
  window.addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
  view.begin();
})();
