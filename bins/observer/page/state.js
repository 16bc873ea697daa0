// Everything that came from the observer, bounded so that a page may stay open for days.
const KEPT_MS = 60000;
const EVENTS_MAX = 6000;

const state = {
  setting: { prefix: "", control: false },
  whole: null,
  events: [],
  frozen: null, // events at the moment of the pause
  leftOut: 0,
  hidden: new Set(),
  heartbeats: false,
  chosen: null, // number of the chosen event
  update: null, // id of the highlighted update
  offset: 0, // the observer's clock less this one's
  live: false,
};

function takeMessages(message) {
  for (const event of message.events) state.events.push(event);
  for (const [seq, to] of message.corrections) {
    const event = findEvent(seq);
    if (event) event.to = [to];
  }
  state.leftOut += message.left_out;
  prune();
}

function prune() {
  const newest = state.events.length ? state.events[state.events.length - 1].at : 0;
  const now = Math.max(newest, state.whole ? state.whole.now : 0);
  let old = Math.max(0, state.events.length - EVENTS_MAX);
  while (old < state.events.length && state.events[old].at < now - KEPT_MS) old += 1;
  if (old > 0) state.events.splice(0, old);
}

function findEvent(seq) {
  let low = 0;
  let high = state.events.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (state.events[middle].seq === seq) return state.events[middle];
    if (state.events[middle].seq < seq) low = middle + 1;
    else high = middle - 1;
  }
  return null;
}

const isHeartbeat = (event) => event.kind === "gossip" && !event.reply && event.items.length === 0;
const isShown = (event) => !state.hidden.has(event.kind) && (state.heartbeats || !isHeartbeat(event));
const shownEvents = () => (state.frozen || state.events).filter(isShown);
const carries = (event, update) => event.items.some((item) => item.update === update);

// Lines of the diagram, in the order client, frontend, replica.
function lines(events) {
  const names = new Map();
  for (const process of state.whole ? state.whole.view.processes : []) names.set(process.id, process.replica ? 2 : 1);
  for (const event of events) {
    for (const name of [event.from, ...event.to]) {
      if (!names.has(name)) names.set(name, /^(client \d+|other clients)$/.test(name) ? 0 : name === "broker" ? 1 : guess(name));
    }
  }
  const sorted = [...names.entries()].sort((a, b) => a[1] - b[1] || a[0].localeCompare(b[0], "en", { numeric: true }));
  return sorted.map(([name]) => name);
}

const guess = (name) => (name === "frontends" || name === "a frontend" || name.startsWith("f") ? 1 : 2);

function setPaused(paused) {
  state.frozen = paused ? state.events.slice() : null;
  const button = byId("pause");
  button.setAttribute("aria-pressed", String(paused));
  button.textContent = paused ? "Resume" : "Pause";
}
