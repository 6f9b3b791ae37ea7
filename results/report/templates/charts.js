// 1, 2, 5 of each decade; on a narrow screen over several decades the powers of ten alone.
function decades(values) {
  const low = Math.floor(Math.log10(Math.min(...values))), high = Math.ceil(Math.log10(Math.max(...values)));
  const steps = high - low > (narrow() ? 2 : 4) ? [1] : [1, 2, 5], ticks = [];
  for (let power = low; power <= high; power += 1) for (const step of steps) ticks.push(Number(`${step}e${power}`));
  return { type: "log", tickvals: ticks, ticktext: ticks.map((tick) => tick.toLocaleString("en", { maximumSignificantDigits: 3 })), minor: { showgrid: false } };
}

const axisLook = () => ({ gridcolor: css("--line"), linecolor: css("--soft"), zeroline: false, ticks: "outside", tickcolor: css("--line"), automargin: true });

function layout(xTitle, yTitle, xAxis) {
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: css("--ink"), family: getComputedStyle(document.body).fontFamily, size: 13 },
    margin: { l: 52, r: 10, t: 10, b: 48 }, hovermode: "closest",
    hoverlabel: { bgcolor: css("--band"), bordercolor: css("--soft"), font: { color: css("--ink"), size: narrow() ? 11 : 13 }, align: "left", namelength: -1 },
    dragmode: narrow() ? false : "zoom",
    xaxis: { ...axisLook(), title: { text: xTitle, standoff: 8 }, ...xAxis },
    yaxis: { ...axisLook(), title: { text: yTitle } },
    legend: narrow() ? { orientation: "h", y: -0.2, yanchor: "top", x: -0.08, font: { size: 12 } } : { orientation: "v", x: 1.02, y: 1 },
  };
}
const config = { responsive: true, displayModeBar: false };
const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const hover = (row, more = []) => [...row.tip, ...more].map((line, index) => (index ? escaped(line) : `<b>${escaped(line)}</b>`)).join("<br>");
const ours = (name) => (name === "none" ? "no distillation" : name);

// A click on a mark opens its row's record; a tap shows the hover alone.
function draw(id, traces, look) {
  const chart = byId(id);
  Plotly.react(chart, traces, look, config);
  if (chart.dataset.ready) return;
  chart.dataset.ready = "yes";
  chart.on("plotly_click", (event) => {
    const row = data.rows[event.points[0].customdata];
    if (row?.records.length && !touch.last) openRecord(row.records[0]);
  });
}

// No other point is as cheap and better: the same rule as the tables' front.
function front(points, x) {
  const line = [];
  for (const point of [...points].sort((a, b) => a.row.cost[x] - b.row.cost[x] || data.main.sign * (b.row.accuracy - a.row.accuracy)))
    if (!line.length || data.main.sign * (point.row.accuracy - line[line.length - 1].row.accuracy) > 0) line.push(point);
  return line;
}

// Variants would bury the suite as it stands: they are drawn where the reader asks for one, or where nothing else is.
function asItStands(note, entries, variant) {
  const plain = entries.filter((entry) => !variant(entry));
  const kept = "variant" in state.axes || !plain.length ? entries : plain, left = entries.length - kept.length;
  byId(note).hidden = !left;
  byId(note).textContent = `${left} of variants, not drawn: choose a variant above, or see the ablations.`;
  return kept;
}

function odds(index, x) {
  const share = data.odds[index]?.[x];
  return share === undefined ? [] : [`on the front in ${(100 * share).toFixed(0)} % of draws`];
}

function drawCost() {
  const x = byId("x")?.value;
  const priced = data.rows.map((row, index) => ({ row, index })).filter(({ row, index }) => shown.has(index) && row.accuracy !== null && row.cost[x] > 0);
  const points = asItStands("cost-variants", priced, ({ row }) => row.axes.variant);
  byId("cost-empty").hidden = points.length > 0;
  byId("cost-chart").hidden = points.length === 0;
  if (!points.length) return;
  const last = Math.max(...points.map(({ row }) => Number(row.axes.shot)));
  const symbol = ({ row }) => row.symbol + (Number(row.axes.shot) === last ? "" : "-open");
  const colour = ({ row }) => (row.axes.role === "teacher" ? css("--ink") : row.colour);
  const traces = [];
  for (const group of Map.groupBy(points, ({ row }) => `${row.table} ${row.axes.shot}`).values()) {
    const line = front(group, x);
    if (line.length < 2) continue; // one row is no line
    traces.push({
      x: line.map(({ row }) => row.cost[x]), y: line.map(({ row }) => row.accuracy), mode: "lines", hoverinfo: "skip", name: "Pareto front",
      legendgroup: "front", showlegend: !traces.length, line: { shape: "hv", dash: "dash", width: 1, color: css("--soft") }, meta: line.map(({ index }) => index),
    });
  }
  const filledFirst = [...points].sort((a, b) => Number(b.row.axes.shot) - Number(a.row.axes.shot)); // the legend shows the first
  const students = points.filter(({ row }) => row.axes.role !== "teacher");
  const names = [...new Set(students.map(({ row }) => row.axes.distillation))];
  const costs = points.map(({ row }) => row.cost[x]);
  const wide = Math.log10((Math.max(...costs) / Math.min(...costs)) * 3);
  const alike = Map.groupBy(students, ({ row }) => row.cost[x]); // streams of one network, say: side by side
  const models = new Map([...alike].map(([cost, group]) => [cost, [...new Set(group.map(({ row }) => row.axes.model))]]));
  const aside = ({ row }) => {
    if (row.axes.role === "teacher") return 1;
    const beside = models.get(row.cost[x]), at = beside.indexOf(row.axes.model) * names.length + names.indexOf(row.axes.distillation);
    return 10 ** (0.008 * wide * (at - (beside.length * names.length - 1) / 2));
  };
  for (const [name, group] of Map.groupBy(filledFirst, ({ row }) => (row.axes.role === "teacher" ? "teacher" : row.axes.distillation))) {
    traces.push({
      x: group.map((point) => point.row.cost[x] * aside(point)), y: group.map(({ row }) => row.accuracy), mode: "markers",
      name: escaped(ours(name)), text: group.map(({ row, index }) => hover(row, odds(index, x))), hovertemplate: "%{text}<extra></extra>",
      marker: { symbol: group.map(symbol), color: group.map(colour), size: group.map(({ row }) => (row.axes.role === "teacher" ? 15 : 10)) },
      error_y: { array: group.map(({ row }) => row.half), color: colour(group[0]), thickness: 1.2, width: 3 },
      customdata: group.map(({ index }) => index),
    });
  }
  for (const [model, { row }] of [...new Map(students.map((point) => [point.row.axes.model, point]))].sort())
    traces.push({ x: [null], y: [null], mode: "markers", name: escaped(model), hoverinfo: "skip", marker: { symbol: row.symbol, color: css("--soft"), size: 10 } });
  draw("cost-chart", traces, layout(byId("x").selectedOptions[0].text, data.main.axis, decades(costs)));
}

// Paired gains: a mark and two bars each, from the top in the table's order.
function drawForest(id, variants) {
  const chart = byId(id);
  if (!chart) return;
  const rows = data.rows.map((row, index) => ({ row, index })).filter(({ row, index }) => shown.has(index) && row.gain && (row.axes.variant !== "") === variants);
  chart.hidden = !rows.length;
  if (!rows.length) return;
  const small = narrow(), step = small ? 40 : 24;
  chart.style.height = `${84 + step * rows.length}px`;
  const suites = new Set(rows.map(({ row }) => `${row.axes.suite}, ${row.axes.dataset}`)).size > 1;
  const label = ({ row }) => escaped(`${row.name}, ${row.at}${suites ? ` (${row.axes.suite}, ${row.axes.dataset})` : ""}`);
  const colour = ({ row }) => (!row.gain.claimed ? css("--soft") : data.main.sign * row.gain.mean > 0 ? css("--good") : css("--bad"));
  const y = rows.map((_, at) => -at), bars = (width, key, opacity) => rows.map((point, at) => ({
    x: point.row.gain[key], y: [-at, -at], mode: "lines", line: { color: colour(point), width }, opacity, hoverinfo: "skip", showlegend: false,
  }));
  const marks = {
    x: rows.map(({ row }) => row.gain.mean), y, mode: "markers", showlegend: false, marker: { color: rows.map(colour), size: 9, line: { color: css("--paper"), width: 1 } },
    text: rows.map(({ row }) => hover(row)), hovertemplate: "%{text}<extra></extra>", customdata: rows.map(({ index }) => index),
  };
  const look = layout("gain (percentage points)", "", { zeroline: true, zerolinecolor: css("--soft"), zerolinewidth: 1 });
  const ends = [0, ...rows.flatMap(({ row: { gain } }) => [gain.mean, ...(gain.span ?? []), ...(gain.episodes ?? [])])];
  const low = Math.min(...ends), high = Math.max(...ends), room = 0.04 * (high - low || 1);
  look.xaxis = { ...look.xaxis, range: [low - room, high + room] };
  look.yaxis = { ...look.yaxis, range: [-rows.length + 0.4, 0.7], fixedrange: true, showgrid: false, tickvals: small ? [] : y, ticktext: rows.map(label), ticks: "" };
  look.annotations = small ? rows.map((point, at) => ({ xref: "paper", x: 0, y: -at, yshift: 15, text: label(point), showarrow: false, font: { size: 11 }, xanchor: "left", align: "left", bgcolor: css("--paper"), borderpad: 0 })) : [];
  if (small) look.margin.l = 8;
  draw(id, [...bars(1.4, "span", 1), ...bars(5, "episodes", 0.55), marks], look);
}

function drawCurves() {
  if (!data.curves.length) return;
  const quantity = byId("quantity").value;
  const found = data.curves.filter((entry) => entry.quantity === quantity && entry.rows.some((row) => shown.has(row)));
  const entries = asItStands("curves-variants", found, (entry) => data.rows[entry.rows[0]].axes.variant);
  byId("curves-empty").hidden = entries.length > 0;
  byId("curves-chart").hidden = !entries.length;
  if (!entries.length) return;
  const traces = entries.map((entry) => ({
    x: entry.x, y: entry.y, mode: entry.x.length > 1 ? "lines" : "markers", name: escaped(entry.label),
    hovertemplate: `${escaped(entry.label)}, ${entry.seeds} seed${entry.seeds > 1 ? "s" : ""}<br>step %{x}: %{y:.4g}<extra></extra>`, meta: entry.rows,
    line: { color: entry.teacher ? css("--ink") : entry.colour, dash: entry.dash, width: 1.6 }, marker: { color: entry.teacher ? css("--ink") : entry.colour },
  }));
  const look = layout("training step", quantity, {});
  look.showlegend = !narrow() || traces.length <= 6;
  look.legend.font = { size: 11 };
  draw("curves-chart", traces, look);
}

// Which class was taken for which, of one row; the choice is among the rows that the filters leave.
function drawConfusion() {
  const select = byId("confusion");
  if (!select) return;
  const rows = Object.keys(data.confusions).filter((index) => shown.has(Number(index)) && data.rows[index].records.length);
  const rowOf = new Map(rows.map((index) => [data.rows[index].records[0], index]));
  select.replaceChildren(...[...rowOf].map(([key, index]) => new Option(`${data.rows[index].name}, ${data.rows[index].at}, ${data.rows[index].axes.suite}`, key)));
  const complete = rows.find((index) => data.confusions[index].counts);
  select.value = rowOf.has(state.confusion) ? state.confusion : complete ? data.rows[complete].records[0] : select.options[0]?.value;
  const index = rowOf.get(select.value), found = data.confusions[index];
  byId("confusion-chart").hidden = !found?.counts;
  byId("confusion-empty").hidden = Boolean(found?.counts);
  byId("confusion-empty").textContent = found ? `No confusion to show: ${found.why}.` : "No row is left by the filters.";
  if (!found?.counts) return;
  const sums = found.counts.map((line) => line.reduce((sum, count) => sum + count, 0));
  const asked = found.names.flatMap((_, at) => (sums[at] ? [at] : []));
  const names = [...found.names, "tie"], z = asked.map((at) => found.counts[at].map((count) => (100 * count) / sums[at]));
  const text = asked.map((at, line) => found.counts[at].map((count, answer) => `${found.names[at]} answered as ${names[answer]}:<br>${z[line][answer].toFixed(1)} % of ${sums[at].toLocaleString("en")} queries (${count.toLocaleString("en")})`));
  const look = layout("answer", "class", { type: "category", tickangle: -60, showgrid: false, ticktext: names.map(escaped), tickvals: names });
  look.yaxis = { ...look.yaxis, type: "category", autorange: "reversed", showgrid: false };
  if (narrow()) for (const axis of [look.xaxis, look.yaxis]) axis.tickfont = { size: 9 };
  byId("confusion-chart").style.height = `${200 + 26 * asked.length}px`;
  draw("confusion-chart", [{
    type: "heatmap", x: names, y: asked.map((at) => found.names[at]), z, text, hovertemplate: "%{text}<extra></extra>", zmin: 0, xgap: 1, ygap: 1,
    colorscale: [[0, css("--band")], [1, css("--accent")]], colorbar: { title: { text: "%" }, thickness: 10 }, texttemplate: "",
  }], look);
}

function drawRecord(record) {
  const chart = byId("record-chart");
  if (!chart) return;
  const count = record.curves.length, look = layout("", "", {});
  look.showlegend = false;
  look.grid = { rows: count, columns: 1, pattern: "independent", roworder: "top to bottom", ygap: 0.35 };
  look.annotations = [];
  const traces = record.curves.map((curve, at) => {
    const n = at ? at + 1 : "";
    look[`xaxis${n}`] = { ...axisLook(), title: { text: at === count - 1 ? "training step" : "" }, rangemode: "tozero" };
    look[`yaxis${n}`] = axisLook();
    look.annotations.push({ xref: `x${n} domain`, yref: `y${n} domain`, x: 0, y: 1, yanchor: "bottom", xanchor: "left", text: escaped(curve.quantity), showarrow: false });
    return { x: curve.x, y: curve.y, xaxis: `x${n}`, yaxis: `y${n}`, mode: curve.x.length > 1 ? "lines" : "markers", name: curve.quantity, line: { color: css("--accent"), width: 1.8 }, marker: { color: css("--accent"), size: 8 }, hovertemplate: "step %{x}: %{y:.4g}<extra></extra>" };
  });
  look.margin.t = 24;
  Plotly.newPlot(chart, traces, look, config);
}

function drawCharts() {
  drawCost();
  drawForest("gains-chart", false);
  drawForest("ablations-chart", true);
  drawCurves();
  drawConfusion();
  if (state.record && data.records[state.record]) drawRecord(data.records[state.record]);
}
