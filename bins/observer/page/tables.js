// Tables: timestamps as a grid, processes, and the latest updates. A table that did not change is left alone, so that a
// screen reader and a selection stay where they are.
const lastTables = new Map();

function show(id, key, build) {
  const text = JSON.stringify(key);
  if (lastTables.get(id) === text) return;
  lastTables.set(id, text);
  byId(id).replaceChildren(build());
}

function table(caption, head, rows) {
  const cell = ([content, className]) => make("th", { scope: "col", class: className || null }, content);
  return make("table", { "aria-label": caption }, make("thead", {}, make("tr", {}, ...head.map(cell))), make("tbody", {}, ...rows));
}

function renderGrid() {
  const replicas = state.whole.view.processes.filter((process) => process.replica);
  const origins = [...new Set(replicas.flatMap(({ replica }) => [...Object.keys(replica.held), ...Object.keys(replica.applied)]))];
  origins.sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const key = replicas.map(({ id, replica }) => [id, replica.held, replica.applied]);
  show("grid", key, () => {
    if (!origins.length) return make("p", { class: "hint" }, "No replica has accepted a record yet.");
    const most = (origin) => Math.max(...replicas.map(({ replica }) => Math.max(replica.held[origin] || 0, replica.applied[origin] || 0)));
    const rows = replicas.map(({ id, replica }) => make("tr", {}, make("th", { scope: "row" }, short(id)), ...origins.map((origin) => {
      const [applied, held, all] = [replica.applied[origin] || 0, replica.held[origin] || 0, most(origin)];
      const missing = all - applied;
      return make("td", { class: `number${missing ? " behind" : ""}` }, `${applied} / ${held}${missing ? ` (−${missing})` : ""}`);
    })));
    return table("Applied and held records of each replica, by origin", [["replica"], ...origins.map((origin) => [short(origin), "number"])], rows);
  });
}

function renderProcesses() {
  const processes = state.whole.view.processes;
  const key = [state.setting.control, processes.map((process) => [process.id, process.frontend && process.frontend.status, process.replica && { ...process.replica, uptime_ms: 0, held: 0, applied: 0 }])];
  // A menu that is open must not be replaced.
  if (byId("processes").contains(document.activeElement) && document.activeElement.tagName === "SELECT") return;
  show("processes", key, () => {
    const head = [["process"], ["roles"], ["status"], ["log length", "number"], ["lag", "number"], ["digest"], ["state"]];
    if (state.setting.control) head.push(["set the status"]);
    return table("Processes", head, processes.map(processRow));
  });
}

function processRow(process) {
  const { id, replica, frontend } = process;
  const roles = [frontend ? "frontend" : "", replica ? "replica" : ""].filter(Boolean).join(" and ");
  const status = make("td", { class: "keep" });
  for (const role of [replica, frontend].filter(Boolean)) status.append(icon(statusMark(role.status)), role.status, " ");
  const number = (content) => make("td", { class: "number" }, content);
  const details = [];
  if (replica) {
    if (replica.mode) details.push(`mode ${replica.mode}`);
    if (replica.durable !== null) details.push(replica.durable ? "on disk" : "in memory");
    if (replica.snapshot) details.push(`snapshot: ${replica.snapshot[0]} of ${replica.snapshot[1]} rows`);
  }
  const lag = replica ? (replica.lag_records ? `${replica.lag_records} records, ${span(replica.lag_ms)}` : "none") : "";
  const row = make("tr", {}, make("th", { scope: "row", title: id }, short(id)), make("td", {}, roles), status,
    number(replica && replica.log_length !== null ? String(replica.log_length) : ""), number(lag),
    make("td", { class: "code" }, replica && replica.digest ? replica.digest : ""), make("td", {}, details.join(", ")));
  if (state.setting.control) row.append(make("td", {}, replica ? statusControl(id, replica.mode) : ""));
  return row;
}

function renderUpdates() {
  const updates = state.whole.view.updates;
  show("updates", updates, () => {
    if (!updates.length) return make("p", { class: "hint" }, "No update was seen yet.");
    const rows = updates.map((update) => make("tr", {}, make("td", {}, clock(update.at)), make("td", {}, update.what),
      make("td", { class: "code" }, update.record ? shortAll(update.record) : ""),
      make("td", { class: "number" }, String(update.held)), make("td", { class: "number" }, String(update.applied)),
      make("td", { class: "number" }, update.answered_ms === null ? "" : span(update.answered_ms)),
      make("td", { class: "code" }, update.stamp || ""),
      make("td", {}, make("button", { type: "button", "aria-label": `Follow ${update.what}`, onclick: () => chooseUpdate(update.id) }, "Follow"))));
    return table("Latest updates", [["time"], ["update"], ["record"], ["held by", "number"], ["applied by", "number"], ["answered after", "number"], ["stamp"], ["way"]], rows);
  });
}
