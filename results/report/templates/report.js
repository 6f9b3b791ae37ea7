"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const all = (selector, from = document) => [...from.querySelectorAll(selector)];
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const narrow = () => window.innerWidth < 640;
const make = (tag, text = "", attributes = {}) => {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};

// What the reader chose stands in the address: axis=value, q=words, x=cost, quantity=curve, confusion=KEY, sort-TABLE=column.down,
// and record-KEY for the open panel. An axis with an empty value is chosen, an axis that is missing is not.
const state = { axes: {}, q: "", x: "", quantity: "", confusion: "", sorts: {}, record: "" };
let shown = new Set();

function readState() {
  Object.assign(state, { axes: {}, q: "", x: "", quantity: "", confusion: "", sorts: {}, record: "" });
  const parts = location.hash.slice(1).split("&");
  for (const part of parts) if (part.startsWith("record-")) state.record = part.slice(7);
  for (const [name, value] of new URLSearchParams(parts.filter((part) => part.includes("=")).join("&"))) {
    if (name.startsWith("sort-")) state.sorts[name.slice(5)] = value;
    else if (["q", "x", "quantity", "confusion"].includes(name)) state[name] = value;
    else if (data.axes.includes(name)) state.axes[name] = value;
  }
}

function address() {
  const found = new URLSearchParams();
  for (const [axis, value] of Object.entries(state.axes)) found.set(axis, value);
  for (const name of ["q", "x", "quantity", "confusion"]) if (state[name]) found.set(name, state[name]);
  for (const [table, value] of Object.entries(state.sorts)) found.set(`sort-${table}`, value);
  return "#" + [found.toString(), state.record && `record-${state.record}`].filter(Boolean).join("&");
}

function writeState(push = false) {
  const hash = address();
  if (hash === (location.hash || "#")) return;
  history[push ? "pushState" : "replaceState"](null, "", hash === "#" ? location.pathname + location.search : hash);
}

// Controls show the state; a value that this page does not have counts as not chosen.
function showState() {
  for (const select of all(".filters select")) {
    const wanted = select.name in state.axes ? "=" + state.axes[select.name] : "";
    select.value = wanted;
    if (select.selectedIndex < 0) { select.value = ""; delete state.axes[select.name]; }
  }
  byId("search").value = state.q;
  for (const name of ["x", "quantity"]) {
    const select = byId(name);
    if (!select) continue;
    select.value = state[name] || select.options[0].value;
    if (select.selectedIndex < 0) { select.selectedIndex = 0; state[name] = ""; }
  }
}

function takeControls() {
  state.axes = {};
  for (const select of all(".filters select")) if (select.value) state.axes[select.name] = select.value.slice(1);
  state.q = byId("search").value.trim();
  for (const name of ["x", "quantity"]) if (byId(name)) state[name] = byId(name).selectedIndex ? byId(name).value : "";
}

function filter() {
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (row) => {
    if (Object.entries(state.axes).some(([axis, value]) => row.axes[axis] !== value)) return false;
    const text = `${row.name} ${Object.values(row.axes).join(" ")} ${row.at}`.toLowerCase();
    return words.every((word) => text.includes(word));
  };
  shown = new Set(data.rows.flatMap((row, index) => (fits(row) ? [index] : [])));
  for (const row of all("tr[data-row]")) row.hidden = !shown.has(Number(row.dataset.row));
  for (const body of all("tbody")) {
    const empty = body.rows.length > 0 && [...body.rows].every((row) => row.hidden);
    body.parentElement.parentElement.classList.toggle("empty", empty);
  }
  const total = data.rows.length;
  byId("count").value = shown.size === total ? `${total} rows` : `${shown.size} of ${total} rows`;
  byId("reset").disabled = location.hash.length < 2 && !state.q && !Object.keys(state.axes).length;
  drawCharts();
}

function changed(event) {
  takeControls();
  if (event.target.id === "confusion") state.confusion = event.target.value;
  writeState();
  filter();
}

// Typing changes the address once it pauses: browsers refuse pages that change it too often.
let pause = 0;
function typed() {
  takeControls();
  clearTimeout(pause);
  pause = setTimeout(() => writeState(), 400);
  filter();
}

function reset() {
  clearTimeout(pause);
  Object.assign(state, { axes: {}, q: "", x: "", quantity: "", confusion: "", sorts: {} });
  writeState();
  showState();
  sortAll();
  filter();
}

// A link to a place within the page (#source-..., #main-table) says nothing about the state.
const elsewhere = () => /^#[^=&]+$/.test(location.hash) && !location.hash.startsWith("#record-");

function follow(event) {
  if (event && elsewhere()) return;
  readState();
  showState();
  sortAll();
  filter();
  showPanel();
}

function start() {
  for (const select of all("select")) select.addEventListener("change", changed);
  byId("search").addEventListener("input", typed);
  byId("reset").addEventListener("click", reset);
  window.addEventListener("hashchange", follow);
  window.addEventListener("popstate", follow);
  for (const query of ["(prefers-color-scheme: dark)", "(max-width: 639px)"]) matchMedia(query).addEventListener("change", drawCharts);
  startTables();
  startPanel();
  follow();
}
