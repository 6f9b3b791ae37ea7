// Sorting: numbers by data-value, words by text; what was not measured stays last either way.
const order = new Map();

function sortTable(table, name, up) {
  const heads = [...table.tHead.rows[0].cells];
  const place = heads.findIndex((th) => th.textContent.trim() === name);
  for (const th of heads) th.removeAttribute("aria-sort");
  const rows = order.get(table);
  if (place < 0) { table.tBodies[0].append(...rows); return; }
  heads[place].setAttribute("aria-sort", up ? "ascending" : "descending");
  const value = (row) => {
    const cell = row.children[place];
    if (!("value" in cell.dataset)) return cell.textContent.trim();
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  };
  const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
  const keyed = rows.map((row, index) => ({ row, index, key: value(row) }));
  keyed.sort((a, b) => {
    if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.index - b.index;
    return (up ? 1 : -1) * compare(a.key, b.key) || a.index - b.index;
  });
  table.tBodies[0].append(...keyed.map((entry) => entry.row));
}

// One click sorts, words upwards and numbers downwards; the next turns it round; the third restores the page's order.
function clickHead(th) {
  const table = th.closest("table"), name = table.id.replace(/-table$/, "");
  const first = th.classList.contains("word") ? "up" : "down", second = first === "up" ? "down" : "up";
  const now = th.ariaSort === "ascending" ? "up" : th.ariaSort === "descending" ? "down" : "";
  const next = now === "" ? first : now === first ? second : "";
  if (next) state.sorts[name] = `${th.textContent.trim()}.${next}`;
  else delete state.sorts[name];
  writeState();
  sortChosen(table);
  byId("reset").disabled = false;
}

function sortChosen(table) {
  const chosen = state.sorts[table.id.replace(/-table$/, "")] ?? "", at = chosen.lastIndexOf(".");
  sortTable(table, chosen.slice(0, Math.max(at, 0)), chosen.slice(at + 1) === "up");
}

function sortAll() {
  for (const table of order.keys()) sortChosen(table);
}

// Hover: every interval of a row; on a touch screen the first tap shows it, with a link to the record.
const touch = { last: false };

function tipLines(cell) {
  const row = cell.closest("tr[data-row]");
  if (!row) return null;
  const lines = data.rows[Number(row.dataset.row)].tip;
  return cell.dataset.tip ? [lines[0], cell.dataset.tip] : lines;
}

function showTip(cell, key) {
  const lines = tipLines(cell), tip = byId("tip");
  if (!lines) return;
  tip.replaceChildren(...lines.map((line, index) => make(index ? "div" : "strong", line)));
  if (key) tip.append(make("a", "open the record", { href: `#record-${key}` }));
  tip.hidden = false;
  const at = cell.getBoundingClientRect(), size = tip.getBoundingClientRect();
  const below = at.bottom + 6 + size.height < innerHeight;
  tip.style.top = `${Math.max(4, below ? at.bottom + 6 : at.top - size.height - 6)}px`;
  tip.style.left = `${Math.max(4, Math.min(at.left, document.documentElement.clientWidth - size.width - 4))}px`;
}

const hideTip = () => { byId("tip").hidden = true; };
const linkOf = (target) => target.closest?.('a[href^="#record-"]');

function clickLink(event) {
  const link = linkOf(event.target);
  if (!link) { if (!event.target.closest?.("#tip")) hideTip(); return; }
  if (event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  const cell = link.closest("td.number"), key = link.hash.slice(8);
  if (touch.last && cell) { showTip(cell, key); return; }
  hideTip();
  openRecord(key);
}

function startTables() {
  for (const table of all("table[id]")) order.set(table, [...table.tBodies[0].rows]);
  for (const button of all("th button")) button.addEventListener("click", () => clickHead(button.parentElement));
  document.addEventListener("pointerdown", (event) => { touch.last = event.pointerType === "touch"; }, true);
  document.addEventListener("keydown", (event) => { touch.last = false; if (event.key === "Escape") hideTip(); }, true);
  document.addEventListener("click", clickLink);
  for (const [enter, leave] of [["mouseover", "mouseout"], ["focusin", "focusout"]]) {
    document.addEventListener(enter, (event) => {
      const cell = event.target.closest?.("main td.number");
      if (cell && !touch.last) showTip(cell);
    });
    document.addEventListener(leave, (event) => { if (!touch.last && event.target.closest?.("td.number")) hideTip(); });
  }
  document.addEventListener("scroll", hideTip, { passive: true, capture: true });
}
