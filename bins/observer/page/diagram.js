// One line for each process, one row for each message: rows are in the order of arrival, so a message is never above its cause.
const ROW = 26;
const MARGIN = 8; // rows drawn beyond the visible ones
const diagram = { rows: [], names: [], drawn: "", following: true };

function diagramGeometry() {
  const width = Math.max(280, byId("diagram").clientWidth - 2);
  const count = Math.max(1, diagram.names.length);
  const words = width > 760 ? Math.min(420, width * 0.34) : 0;
  // Narrow windows leave out hours and minutes.
  const left = words ? 96 : 56;
  const gap = Math.max(38, Math.min(150, (width - left - words) / count));
  const right = left + gap * count;
  return { gap, right, width: Math.max(width, right + words), words, x: (name) => left + gap * (diagram.names.indexOf(name) + 0.5) };
}

function renderDiagram() {
  const host = byId("diagram");
  diagram.rows = shownEvents();
  diagram.names = lines(diagram.rows);
  const geometry = diagramGeometry();
  const height = Math.max(host.clientHeight - 4, diagram.rows.length * ROW + 16);
  // The first row stands at the bottom while there are few.
  const top = height - diagram.rows.length * ROW - 10;
  let svg = host.firstElementChild;
  if (!svg) {
    svg = draw("svg", { role: "img" });
    host.append(svg);
  }
  svg.setAttribute("width", geometry.width);
  svg.setAttribute("height", height);
  svg.setAttribute("aria-label", `Space-time diagram with ${diagram.rows.length} messages between ${diagram.names.length} processes. The list of messages below has the same as text.`);
  if (diagram.following && !state.frozen) host.scrollTop = host.scrollHeight;
  const first = Math.max(0, Math.floor((host.scrollTop - top) / ROW) - MARGIN);
  const last = Math.min(diagram.rows.length, Math.ceil((host.scrollTop + host.clientHeight - top) / ROW) + MARGIN);
  const visible = diagram.rows.slice(first, last);
  const drawn = JSON.stringify([visible.map((event) => [event.seq, event.to]), diagram.names, geometry.width, height, first, state.update, state.chosen]);
  if (drawn === diagram.drawn) return;
  diagram.drawn = drawn;
  const parts = diagram.names.map((name) => draw("line", { class: "life", x1: geometry.x(name), x2: geometry.x(name), y1: 0, y2: height }));
  visible.forEach((event, index) => parts.push(drawRow(event, top + (first + index) * ROW, geometry)));
  svg.replaceChildren(...parts);
  renderHead(geometry);
}

function renderHead(geometry) {
  const head = byId("diagram-head");
  const names = diagram.names.map((name) => text(geometry.x(name), 22, fitting(short(name), geometry.gap), "name", "middle"));
  const time = text(8, 22, "time", "small soft", "start");
  head.replaceChildren(draw("svg", { width: geometry.width, height: 32 }, time, ...names));
  head.scrollLeft = byId("diagram").scrollLeft;
}

const brief = (name, room) => (room < 70 ? name.replace(/^client (\d+)$/, "c$1").replace("other clients", "c…") : name);
const fitting = (full, room, name = brief(full, room)) => (name.length * 8 > room ? `${name.slice(0, Math.max(2, Math.floor(room / 8) - 1))}…` : name);

function drawRow(event, y, geometry) {
  const onWay = state.update && carries(event, state.update);
  const classes = ["row", state.update ? (onWay ? "way" : "dim") : "", event.seq === state.chosen ? "chosen" : ""];
  const row = draw("g", { class: classes.join(" ").trim(), "data-seq": event.seq });
  row.append(draw("title", {}, `${clock(event.at)} ${sentence(event)}`));
  row.append(draw("rect", { class: "hit", x: 0, y, width: geometry.width, height: ROW }));
  row.append(text(8, y + 16, geometry.words ? clock(event.at) : clock(event.at).slice(6), "small soft", "start"));
  const start = geometry.x(event.from);
  for (const to of event.to) drawArrow(row, event, start, geometry.x(to), y);
  const mark = kindMark(event.kind, event.reply);
  mark.setAttribute("transform", `translate(${start} ${y + 5}) scale(.8)`);
  row.append(mark);
  if (geometry.words) row.append(text(geometry.right + 8, y + 16, cut(shortAll(event.what), geometry.words), `small${event.failed ? "" : " soft"}`, "start"));
  return row;
}

function drawArrow(row, event, start, end, y) {
  const classes = `arrow mark-${event.kind}${event.reply ? " reply" : ""}${event.failed ? " failed" : ""}`;
  const [top, bottom] = [y + 5, y + ROW - 5];
  if (start === end) {
    row.append(draw("path", { class: classes, d: `M${start} ${top}h14v${bottom - top}h-10` }));
    return;
  }
  const turn = start < end ? 1 : -1;
  const angle = Math.atan2(bottom - top, end - start);
  const wing = (delta) => `${(end - 9 * Math.cos(angle + delta)).toFixed(1)} ${(bottom - 9 * Math.sin(angle + delta)).toFixed(1)}`;
  row.append(draw("path", { class: classes, fill: "none", d: `M${start + 4 * turn} ${top}L${end} ${bottom}` }));
  row.append(draw("path", { class: `${classes} head`, fill: "none", d: `M${wing(0.42)}L${end} ${bottom}L${wing(-0.42)}` }));
}

const cut = (words, room) => (words.length * 6.1 > room ? `${words.slice(0, Math.floor(room / 6.1) - 1)}…` : words);

function sentence(event) {
  const kind = (KINDS[event.kind] || ["message"])[0];
  return `${short(event.from)} to ${event.to.map(short).join(", ") || "no process"}: ${kind}${event.reply ? ", reply" : ""}: ${shortAll(event.what)}`;
}

function choose(event) {
  state.chosen = event ? event.seq : null;
  const updates = event ? event.items.map((item) => item.update).filter(Boolean) : [];
  if (!event) state.update = null;
  else if (!updates.includes(state.update)) state.update = updates[0] || null;
  renderWay();
  renderDiagram();
}

function chooseUpdate(update) {
  const event = (state.frozen || state.events).find((candidate) => carries(candidate, update));
  state.update = update;
  state.chosen = event ? event.seq : null;
  if (!state.frozen) setPaused(true);
  renderDiagram();
  if (event) reveal(event.seq);
  renderWay();
}

function reveal(seq) {
  const host = byId("diagram");
  const index = diagram.rows.findIndex((event) => event.seq === seq);
  if (index < 0) return;
  const top = Number(host.firstElementChild.getAttribute("height")) - diagram.rows.length * ROW - 10;
  const y = top + index * ROW;
  if (y < host.scrollTop || y > host.scrollTop + host.clientHeight - 2 * ROW) host.scrollTop = y - host.clientHeight / 2;
  renderDiagram();
}

// The whole way of the chosen update, step by step.
function renderWay() {
  const host = byId("way");
  const events = state.frozen || state.events;
  const chosen = state.chosen === null ? null : events.find((event) => event.seq === state.chosen);
  if (!state.update) {
    host.replaceChildren(...(chosen ? [make("h3", {}, `${clock(chosen.at)} ${sentence(chosen)}`)] : []));
    return;
  }
  const steps = events.filter((event) => carries(event, state.update));
  const others = chosen ? [...new Set(chosen.items.map((item) => item.update))].filter((update) => update && update !== state.update) : [];
  const start = steps.length ? steps[0].at : 0;
  const header = ["time", "after", "from", "to", "step", "record", "stamp", "prev", "label"];
  const rows = steps.map((event) => {
    const item = event.items.find((candidate) => candidate.update === state.update);
    const cells = [clock(event.at), span(event.at - start), short(event.from), event.to.map(short).join(", "), `${KINDS[event.kind][0]}${event.reply ? ", reply" : ""}: ${shortAll(item.what || event.what)}`];
    return make("tr", {}, ...cells.map((cell) => make("td", {}, cell)), ...["record", "stamp", "prev", "label"].map((name) => make("td", { class: "code" }, shortAll(item[name] || ""))));
  });
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...header.map((name) => make("th", { scope: "col" }, name)))), make("tbody", {}, ...rows));
  const buttons = others.map((update) => make("button", { type: "button", onclick: () => { state.update = update; renderWay(); renderDiagram(); } }, `Update ${update.slice(-8)}`));
  const end = make("button", { type: "button", onclick: () => choose(null) }, "End the highlight");
  host.replaceChildren(
    make("h3", {}, `The way of update ${state.update}`),
    make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Steps of the update" }, table),
    make("div", { class: "actions" }, end, ...buttons),
  );
}

function renderText() {
  if (!byId("text-alternative").open) return;
  const rows = shownEvents().slice(-60).map((event) => make("li", {}, `${clock(event.at)} ${sentence(event)}`));
  byId("messages-text").replaceChildren(...rows);
}

function moveChoice(step) {
  if (!diagram.rows.length) return;
  if (!state.frozen) setPaused(true);
  renderDiagram();
  const index = diagram.rows.findIndex((event) => event.seq === state.chosen);
  const next = index < 0 ? diagram.rows.length - 1 : Math.min(diagram.rows.length - 1, Math.max(0, index + step));
  choose(diagram.rows[next]);
  reveal(diagram.rows[next].seq);
}

function startDiagram() {
  const host = byId("diagram");
  host.addEventListener("click", (click) => {
    const row = click.target.closest("[data-seq]");
    const seq = row ? Number(row.getAttribute("data-seq")) : null;
    choose(seq === null ? null : (state.frozen || state.events).find((event) => event.seq === seq));
  });
  host.addEventListener("keydown", (key) => {
    const steps = { ArrowUp: -1, ArrowDown: 1, PageUp: -12, PageDown: 12, Home: -1e9, End: 1e9 };
    if (key.key in steps) moveChoice(steps[key.key]);
    else if (key.key === "Escape") choose(null);
    else return;
    key.preventDefault();
  });
  // Looking back pauses, so that rows do not move away.
  host.addEventListener("wheel", (wheel) => { if (wheel.deltaY < 0 && !state.frozen) setPaused(true); }, { passive: true });
  host.addEventListener("touchmove", () => { if (!state.frozen && host.scrollTop + host.clientHeight < host.scrollHeight - 40) setPaused(true); }, { passive: true });
  host.addEventListener("scroll", () => {
    byId("diagram-head").scrollLeft = host.scrollLeft;
    renderDiagram();
  });
}
