"use strict";
(() => {
  const root = document.documentElement;
  document.querySelectorAll("[data-needs-script]").forEach((one) => { one.hidden = false; });

  // The theme: what the system says, until somebody chooses. Storage may be refused for pages from disk.
  const keep = (theme) => { try { localStorage.setItem("trtpipe-theme", theme); } catch { /* not kept */ } };
  const kept = () => { try { return localStorage.getItem("trtpipe-theme"); } catch { return null; } };
  const choose = (theme) => {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme; else delete root.dataset.theme;
  };
  const themes = document.querySelectorAll('input[name="theme"]');
  themes.forEach((one) => one.addEventListener("change", () => { choose(one.value); keep(one.value); }));
  const chosen = [...themes].find((one) => one.value === kept());
  if (chosen) { chosen.checked = true; choose(chosen.value); }

  // A link to a cell opens what it leads to.
  const open = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target instanceof HTMLDetailsElement) { target.hidden = false; target.open = true; target.scrollIntoView(); }
  };
  addEventListener("hashchange", open);
  open();

  const table = document.getElementById("cell-table");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row, index) => ({
    row, index, text: row.textContent.toLowerCase() + " " + (row.dataset.text || ""),
    tags: (row.dataset.tags || "").split(" "), details: document.getElementById(row.dataset.details),
  }));

  // Sorting: numbers by data-v, words by what is shown; rows without a value stand last either way.
  const value = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.v === undefined) return cell.textContent;
    return cell.dataset.v === "" ? null : Number(cell.dataset.v);
  };
  const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
  const sort = (head, column) => {
    const down = head.getAttribute("aria-sort") === "ascending";
    table.querySelectorAll("thead th").forEach((one) => one.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const known = rows.map((one) => ({ ...one, value: value(one.row, column) }));
    known.sort((a, b) => {
      if (a.value === null || b.value === null) return (a.value === null) - (b.value === null) || a.index - b.index;
      return (down ? compare(b.value, a.value) : compare(a.value, b.value)) || a.index - b.index;
    });
    body.append(...known.map((one) => one.row));
    say(`sorted by ${head.textContent}, ${down ? "descending" : "ascending"}`);
  };
  table.querySelectorAll("thead th").forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sort(head, column));
  });

  // Filtering: every word must be somewhere in the row; the details of a hidden row are hidden with it.
  const words = document.getElementById("filter-words");
  const kind = document.getElementById("filter-kind");
  const told = document.getElementById("filter-told");
  const say = (text) => { told.textContent = text; };
  const filter = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const { row, text, tags, details } of rows) {
      const fits = wanted.every((word) => text.includes(word)) && (!kind.value || tags.includes(kind.value));
      row.hidden = !fits;
      if (details) details.hidden = !fits;
      shown += fits;
    }
    say(`${shown} of ${rows.length} cells shown`);
  };
  words.addEventListener("input", filter);
  kind.addEventListener("change", filter);
  words.form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("pageshow", () => { if (words.value || kind.value) filter(); });
})();
