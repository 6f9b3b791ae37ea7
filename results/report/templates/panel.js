// The panel behind a number: one record, its settings, curve, classes, origin and the command that makes it again.
let returnTo = null;

function openRecord(key) {
  returnTo = byId("panel").open ? returnTo : document.activeElement;
  state.record = key;
  writeState(true);
  showPanel();
}

function closed() {
  state.record = "";
  writeState();
  if (returnTo?.isConnected) returnTo.focus();
  returnTo = null;
}

function showPanel() {
  const panel = byId("panel");
  if (!state.record) { if (panel.open) panel.close(); return; }
  const body = panel.firstElementChild, record = data.records[state.record];
  body.replaceChildren(...(record ? contents(state.record, record) : unknown(state.record)));
  if (!panel.open) panel.showModal();
  panel.scrollTop = 0;
  if (record) drawRecord(record);
}

function head(title) {
  const top = make("div", "", { class: "panel-head" }), close = make("button", "close", { type: "button", class: "plain" });
  close.addEventListener("click", () => byId("panel").close());
  top.append(make("h2", title, { id: "panel-title" }), close);
  return top;
}

const unknown = (key) => [head("No such record"), make("p", `This report holds no record ${key}.`)];

function pairs(list) {
  const found = make("dl");
  for (const [name, value] of list) found.append(make("dt", name), make("dd", value));
  return found;
}

function section(title, ...inside) {
  const found = make("section", "", { class: "part", "data-part": title });
  found.append(make("h3", title), ...inside);
  return found;
}

function links(title, keys, current) {
  const line = make("p", `${title}: `, { class: "kin" });
  for (const key of keys) {
    const record = data.records[key];
    const link = make("a", `seed ${record.seed} `, { href: `#record-${key}` });
    link.append(make("small", record.shown));
    if (key === current) link.setAttribute("aria-current", "true");
    line.append(link, " ");
  }
  return line;
}

function contents(key, record) {
  const found = [head(record.name)];
  if (record.accuracy === null) found.push(make("p", `${record.status}${record.reason ? ": " + record.reason : ""}`, { class: "bad" }));
  else found.push(make("p", record.shown, { class: "figure", id: "panel-accuracy" }));
  for (const row of record.rows.map((index) => data.rows[index])) {
    found.push(links(record.rows.length > 1 ? `In ${row.axes.suite}${row.axes.variant && ", " + row.axes.variant}` : "This row", row.records, key));
    if (row.against.length) found.push(links(`compared with ${row.compared}`, row.against, key));
  }
  if (record.intervals.length) {
    const table = make("table"), body = table.createTBody();
    for (const [name, span, covers] of record.intervals) {
      const line = body.insertRow();
      line.append(make("th", name, { scope: "row", class: "word" }), make("td", span), make("td", covers, { class: "word wrap" }));
    }
    found.push(section("Intervals, 95 %", table));
  }
  found.push(commandPart(record));
  if (record.curves.length) {
    const single = record.curves.every((curve) => curve.x.length < 2);
    const chart = make("div", "", { id: "record-chart", style: `height: ${60 + 130 * record.curves.length}px` });
    found.push(section("Learning curve", ...(single ? [make("p", "One point alone: nothing was trained in episodes, or the start was the best.", { class: "caption" }), chart] : [chart])));
  }
  if (record.classes.length) found.push(section("Per class", classBars(record.classes)));
  for (const [title, list] of Object.entries(record.blocks)) found.push(section(title, pairs(list)));
  found.push(section("File", files(key, record)));
  return found;
}

function classBars(classes) {
  const table = make("table", "", { class: "bars" }), body = table.createTBody();
  for (const [name, value, text] of classes) {
    const line = body.insertRow(), bar = make("td", "", { class: "bar" });
    bar.append(make("span", "", { style: `width: ${100 * value}%` }));
    line.append(make("th", name, { scope: "row", class: "word" }), make("td", text), bar);
  }
  return table;
}

function commandPart(record) {
  const pre = make("pre", record.command, { tabindex: "0" }), copy = make("button", "copy", { type: "button", class: "plain", id: "copy" });
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(record.command);
      copy.textContent = "copied";
    } catch { // no clipboard here: leave the text selected for the reader's own keys
      getSelection().selectAllChildren(pre);
      copy.textContent = document.execCommand("copy") ? "copied" : "selected: press Ctrl-C";
    }
  });
  const line = make("div", "", { class: "command" });
  line.append(pre, copy);
  const note = "It writes every shot of the row. Seeds, suite file and settings are those of the run; its software is under Provenance.";
  const lost = "The record does not tell how its run was started: the suite is taken as it stands, settings given on the command line are not known.";
  return section("Make it again", line, make("p", record.has_command ? note : lost, { class: "caption" }));
}

function files(key, record) {
  const line = make("p");
  for (const file of record.files) line.append(file.href ? make("a", file.name, { href: file.href }) : make("code", file.name), " ");
  if (!record.files.length) line.append(make("code", `${key}.json`));
  return line;
}

function startPanel() {
  const panel = byId("panel");
  panel.addEventListener("close", closed);
  panel.addEventListener("click", (event) => { if (event.target === panel) panel.close(); }); // beside the panel
}
