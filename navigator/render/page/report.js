"use strict";
(() => {
  const root = document.documentElement;
  const theme = document.getElementById("theme");
  const dark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const name = () => { theme.textContent = dark() ? "Light" : "Dark"; };
  theme.hidden = false;
  theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; name(); });
  name();

  // A link to a conversion opens its model.
  const open = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    const details = target && target.closest("details");
    if (details) { details.open = true; target.scrollIntoView(); }
  };
  addEventListener("hashchange", open);
  open();

  const table = document.getElementById("results");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const search = document.getElementById("search");
  const only = document.getElementById("only");
  const found = document.getElementById("found");
  document.getElementById("filters").hidden = false;

  const wanted = (row) => {
    const choice = only.value;
    if (choice === "fails" || choice === "changed") return choice in row.dataset;
    return !choice || row.dataset.state === choice;
  };
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let amount = 0;
    for (const row of rows) {
      row.hidden = !(wanted(row) && words.every((word) => texts.get(row).includes(word)));
      amount += !row.hidden;
    }
    found.textContent = `${amount} of ${rows.length}`;
  };
  search.addEventListener("input", filter);
  only.addEventListener("change", filter);
  filter();
  addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName ?? "");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) { event.preventDefault(); search.focus(); }
  });

  const key = (row, column) => {
    const cell = row.cells[column];
    if (!("key" in cell.dataset)) return cell.textContent;
    return cell.dataset.key === "" ? null : Number(cell.dataset.key);
  };
  const compare = (left, right) => {
    if (left === null || right === null) return (left === null) - (right === null);
    return typeof left === "number" ? left - right : left.localeCompare(right, undefined, { numeric: true });
  };
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const sign = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      headers.forEach((each) => each.setAttribute("aria-sort", "none"));
      header.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const keys = new Map(rows.map((row) => [row, key(row, column)]));
      const last = (row) => keys.get(row) === null;
      rows.sort((left, right) => last(left) - last(right) || sign * compare(keys.get(left), keys.get(right)));
      body.append(...rows);
    });
  });
})();
