// Keeps the view (sorting, filters, chosen metric, scroll target) in the URL's hash. The page is complete without scripts.
"use strict";
const view = (() => {
  const state = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
  let ready = false;

  function remember(key, value) {
    if (value) state.set(key, value);
    else state.delete(key);
    const hash = state.toString();
    if (ready) history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  }

  return { get: (key) => state.get(key) ?? "", remember, begin: () => (ready = true) };
})();
