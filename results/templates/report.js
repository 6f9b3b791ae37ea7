"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const chosen = {};
const byId = (id) => document.getElementById(id);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const narrow = () => window.innerWidth < 640;
const shown = (axes) => Object.entries(chosen).every(([axis, value]) => !value || axes[axis] === value);

// Filters: one select per axis; rows carry their axes as data attributes.
function filter() {
  for (const select of document.querySelectorAll(".filters select")) chosen[select.name] = select.value;
  let count = 0, all = 0;
  for (const row of document.querySelectorAll("tr[data-axes]")) {
    row.hidden = !shown(JSON.parse(row.dataset.axes));
    if (row.closest("#main-table")) { all += 1; count += row.hidden ? 0 : 1; }
  }
  for (const cell of document.querySelectorAll("details[data-axes]")) cell.hidden = !shown(JSON.parse(cell.dataset.axes));
  byId("count").value = count === all ? `${all} rows` : `${count} of ${all} rows`;
  drawCost();
  drawCurves();
}

// Sorting: numbers by data-value, words by text; what was not measured stays last either way.
function sortBy(th) {
  const head = th.parentElement, body = th.closest("table").tBodies[0];
  const up = th.getAttribute("aria-sort") === "descending" || (!th.hasAttribute("aria-sort") && th.classList.contains("word"));
  for (const other of head.children) other.removeAttribute("aria-sort");
  th.setAttribute("aria-sort", up ? "ascending" : "descending");
  const place = [...head.children].indexOf(th);
  const value = (row) => {
    const cell = row.children[place];
    if (!("value" in cell.dataset)) return cell.textContent.trim();
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  };
  const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
  const rows = [...body.rows].map((row, index) => ({ row, index, key: value(row) }));
  rows.sort((a, b) => {
    if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.index - b.index;
    return (up ? 1 : -1) * compare(a.key, b.key) || a.index - b.index;
  });
  body.append(...rows.map((entry) => entry.row));
}

// 1, 2, 5 of each decade; on a narrow screen over several decades the powers of ten alone.
function decades(values) {
  const low = Math.floor(Math.log10(Math.min(...values))), high = Math.ceil(Math.log10(Math.max(...values)));
  const steps = high - low > (narrow() ? 2 : 4) ? [1] : [1, 2, 5], ticks = [];
  for (let power = low; power <= high; power += 1) for (const step of steps) ticks.push(Number(`${step}e${power}`));
  return { type: "log", tickvals: ticks, ticktext: ticks.map((tick) => tick.toLocaleString("en")), minor: { showgrid: false } };
}

function layout(xTitle, yTitle, xAxis) {
  const axis = { gridcolor: css("--line"), linecolor: css("--soft"), zeroline: false, ticks: "outside", tickcolor: css("--line"), automargin: true };
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: css("--ink"), family: getComputedStyle(document.body).fontFamily, size: 13 },
    margin: { l: 52, r: 10, t: 10, b: 48 }, hovermode: "closest",
    hoverlabel: { bgcolor: css("--band"), bordercolor: css("--soft"), font: { color: css("--ink") }, align: "left" },
    dragmode: narrow() ? false : "zoom",
    xaxis: { ...axis, title: { text: xTitle, standoff: 8 }, ...xAxis },
    yaxis: { ...axis, title: { text: yTitle } },
    legend: narrow() ? { orientation: "h", y: -0.2, yanchor: "top", x: -0.08, font: { size: 12 } } : { orientation: "v", x: 1.02, y: 1 },
  };
}
const config = { responsive: true, displayModeBar: false };

// No other point is as cheap and better: the same rule as the tables' front.
function front(points, x) {
  const line = [];
  for (const point of [...points].sort((a, b) => a[x] - b[x] || b.accuracy - a.accuracy))
    if (!line.length || point.accuracy > line[line.length - 1].accuracy) line.push(point);
  return line;
}

function drawCost() {
  const x = byId("cost-axis").value;
  const points = data.points.filter((point) => shown(point.axes) && point[x] > 0);
  byId("cost-empty").hidden = points.length > 0;
  byId("cost-chart").hidden = points.length === 0;
  if (!points.length) return;
  const last = Math.max(...points.map((point) => Number(point.axes.shot)));
  const symbol = (point) => point.symbol + (Number(point.axes.shot) === last ? "" : "-open");
  const colour = (point) => (point.role === "teacher" ? css("--ink") : point.colour);
  const traces = [];
  const groups = Map.groupBy(points, (point) => `${point.table} ${point.axes.shot}`);
  let first = true;
  for (const group of groups.values()) {
    const line = front(group, x);
    traces.push({
      x: line.map((point) => point[x]), y: line.map((point) => point.accuracy), mode: "lines", hoverinfo: "skip", name: "Pareto front",
      legendgroup: "front", showlegend: first, line: { shape: "hv", dash: "dash", width: 1, color: css("--soft") }, meta: line.map((point) => point.row),
    });
    first = false;
  }
  const filledFirst = [...points].sort((a, b) => Number(b.axes.shot) - Number(a.axes.shot)); // the legend shows the first
  const names = [...new Set(points.filter((point) => point.role !== "teacher").map((point) => point.axes.distillation))];
  const wide = Math.log10(Math.max(...points.map((p) => p[x])) / Math.min(...points.map((p) => p[x])) * 3);
  const aside = (point) => {
    const at = names.indexOf(point.axes.distillation);
    return at < 0 ? 1 : 10 ** (0.008 * wide * (at - (names.length - 1) / 2));
  };
  for (const [name, group] of Map.groupBy(filledFirst, (point) => (point.role === "teacher" ? `${point.axes.model} (teacher)` : point.axes.distillation))) {
    traces.push({
      x: group.map((point) => point[x] * aside(point)), y: group.map((point) => point.accuracy), mode: "markers",
      name: name === "none" ? "no distillation" : name, text: group.map((point) => point.text), hovertemplate: "%{text}<extra></extra>",
      marker: { symbol: group.map(symbol), color: group.map(colour), size: group.map((p) => (p.role === "teacher" ? 15 : 10)) },
      error_y: { array: group.map((point) => point.half), color: colour(group[0]), thickness: 1.2, width: 3 },
      customdata: group.map((point) => point.row),
    });
  }
  const models = new Map(points.filter((point) => point.role !== "teacher").map((point) => [point.axes.model, point]));
  for (const [model, point] of [...models].sort())
    traces.push({ x: [null], y: [null], mode: "markers", name: model, hoverinfo: "skip", marker: { symbol: point.symbol, color: css("--soft"), size: 10 } });
  Plotly.react("cost-chart", traces, layout(byId("cost-axis").selectedOptions[0].text, "accuracy (%)", decades(points.map((point) => point[x]))), config);
}

function drawCurves() {
  if (!data.curves.length) return;
  const quantity = byId("quantity").value;
  const traces = data.curves.filter((entry) => entry.quantity === quantity && shown({ ...entry.axes, shot: chosen.shot })).map((entry) => ({
    x: entry.x, y: entry.y, mode: "lines", name: entry.label, hovertemplate: "%{fullData.name}<br>step %{x}: %{y:.4g}<extra></extra>",
    line: { color: entry.teacher ? css("--ink") : entry.colour, dash: entry.dash, width: 1.6 },
  }));
  const look = layout("training step", quantity, {});
  look.showlegend = !narrow() || traces.length <= 6;
  look.legend.font = { size: 11 };
  Plotly.react("curves-chart", traces, look, config);
}

for (const button of document.querySelectorAll("th button")) button.addEventListener("click", () => sortBy(button.parentElement));
for (const select of document.querySelectorAll("select")) select.addEventListener("change", filter);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", filter);
matchMedia("(max-width: 639px)").addEventListener("change", filter);
filter();
