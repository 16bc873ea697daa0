// The connection to the observer, and what is drawn when.
function renderNotes() {
  const notes = [];
  const whole = state.whole;
  if (!state.live) notes.push("The observer does not answer. This page connects again by itself.");
  else if (whole && !whole.connected) notes.push("The broker is not reachable. The page goes on when it is back.");
  if (whole && whole.sampled.length) notes.push(`Too many messages to show all. Sampled: ${whole.sampled.join(", ")}.`);
  if (whole && whole.hidden.length) {
    const replies = whole.hidden.some((subject) => subject.endsWith(".>")) ? " Replies are among what is hidden." : "";
    notes.push(`The broker does not permit this observer to see ${whole.hidden.join(", ")}.${replies}`);
  }
  if (whole && whole.dropped) notes.push(`${whole.dropped} messages were lost on the way to the observer.`);
  show("notes", notes, () => {
    const list = document.createDocumentFragment();
    for (const note of notes) list.append(make("p", {}, note));
    return list;
  });
  const count = whole ? whole.view.processes.length : 0;
  const words = !state.live ? "not connected" : whole && !whole.connected ? "broker not reachable" : `live, ${count} ${count === 1 ? "process" : "processes"}`;
  if (byId("connection").textContent !== words) byId("connection").textContent = words;
}

function renderWhole() {
  if (!state.whole || document.hidden) return;
  renderTopology();
  renderGrid();
  renderProcesses();
  renderLauncher();
  renderUpdates();
  renderNumbers();
  renderNotes();
  renderText();
  byId("left-out").textContent = state.leftOut ? `${many(state.leftOut)} messages were left out since the page was opened, as too many came at once.` : "";
}

let drawing = false;
function drawSoon() {
  if (drawing || document.hidden) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    renderDiagram();
    if (state.update && !state.frozen) renderWay();
  });
}

function connect() {
  const source = new EventSource("/events");
  source.addEventListener("setting", (message) => {
    state.setting = JSON.parse(message.data);
    state.live = true;
    // A new connection begins with all of the last minute.
    state.events = [];
    byId("prefix").textContent = state.setting.prefix;
  });
  source.addEventListener("messages", (message) => {
    const messages = JSON.parse(message.data);
    takeMessages(messages);
    if (!state.frozen && messages.events.length <= 200) travel(messages.events);
    if (!state.frozen) drawSoon();
  });
  source.addEventListener("view", (message) => {
    state.whole = JSON.parse(message.data);
    prune();
    renderWhole();
    if (!state.frozen) drawSoon();
  });
  source.addEventListener("error", () => {
    state.live = false;
    renderNotes();
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
  });
}

function startLegends() {
  for (const [kind, [name]] of Object.entries(KINDS)) {
    const box = make("input", { type: "checkbox", checked: "" });
    box.addEventListener("change", () => {
      if (box.checked) state.hidden.delete(kind);
      else state.hidden.add(kind);
      renderDiagram();
    });
    byId("kinds").append(make("label", {}, box, icon(kindMark(kind)), name));
  }
  const box = make("input", { type: "checkbox", id: "heartbeats" });
  box.addEventListener("change", () => { state.heartbeats = box.checked; renderDiagram(); });
  byId("kinds").append(make("label", {}, box, "gossip without records"));
  for (const status of ["ACTIVE", "OVERLOADED", "OFFLINE", "JOINING", "GONE"]) {
    byId("status-legend").append(make("li", {}, icon(statusMark(status)), status));
  }
}

function startTheme() {
  const prefers = window.matchMedia("(prefers-color-scheme: dark)");
  const set = (dark) => {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    byId("theme").textContent = dark ? "Light" : "Dark";
  };
  set(prefers.matches);
  prefers.addEventListener("change", () => set(prefers.matches));
  byId("theme").addEventListener("click", () => set(document.documentElement.dataset.theme !== "dark"));
}

startTheme();
startLegends();
startDiagram();
byId("pause").addEventListener("click", () => { setPaused(!state.frozen); diagram.following = true; drawSoon(); });
byId("export").addEventListener("click", exportDiagram);
document.addEventListener("visibilitychange", () => { renderWhole(); drawSoon(); });
new ResizeObserver(() => { topology.key = ""; diagram.drawn = ""; renderWhole(); drawSoon(); }).observe(byId("diagram-panel"));
connect();
