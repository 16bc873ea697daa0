// Clients and frontends above the broker, replicas below; messages travel by way of the broker.
const TRAVEL_MS = 900;
const TRAVELLERS_MAX = 48;
const topology = { places: new Map(), bus: 0, svg: null, layer: null, travellers: [], key: "", ticking: false };
const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

function renderTopology() {
  if (!state.whole) return;
  const host = byId("topology");
  const width = Math.max(280, host.clientWidth);
  const processes = state.whole.view.processes;
  const clients = lines(state.events).filter((name) => /^(client \d+|other clients)$/.test(name));
  const nodes = [
    ...clients.map((id) => ({ id, role: "client", status: null })),
    ...processes.filter((process) => !process.replica).map((process) => ({ id: process.id, role: "frontend", status: process.frontend.status })),
  ];
  const replicas = processes.filter((process) => process.replica).map((process) => ({
    id: process.id,
    role: process.frontend ? "frontend and replica" : "replica",
    status: process.replica.status,
    second: process.frontend ? process.frontend.status : null,
    lag: process.replica.lag_records,
  }));
  const key = JSON.stringify([width, state.whole.connected, nodes, replicas]);
  if (key === topology.key) return;
  topology.key = key;
  topology.places.clear();
  const boxWidth = replicas.length > 24 ? 84 : 112;
  const columns = Math.max(1, Math.floor(width / (boxWidth + 12)));
  const svg = draw("svg", { width, role: "img", "aria-label": describeTopology(nodes, replicas) });
  // Room for messages to be seen on their way.
  const room = width > 560 ? 40 : 8;
  let y = placeRows(svg, nodes, width, columns, boxWidth, 8) + room;
  topology.bus = y + 22;
  const broker = state.whole.connected ? "broker" : "broker: not reachable";
  svg.append(
    draw("rect", { class: `bus${state.whole.connected ? "" : " down"}`, x: 6, y: y + 8, width: width - 12, height: 28, rx: 14 }),
    text(width / 2, y + 27, broker, "name", "middle"),
  );
  y = placeRows(svg, replicas, width, columns, boxWidth, y + 58 + room);
  topology.layer = draw("g", { "aria-hidden": "true" });
  svg.append(topology.layer);
  svg.setAttribute("height", y + 4);
  topology.travellers = [];
  host.replaceChildren(svg);
}

function placeRows(svg, nodes, width, columns, boxWidth, top) {
  let y = top;
  for (let start = 0; start < nodes.length; start += columns) {
    const row = nodes.slice(start, start + columns);
    const gap = width / row.length;
    row.forEach((node, index) => placeNode(svg, node, gap * (index + 0.5), y, boxWidth));
    y += 60;
  }
  return nodes.length ? y : y + 4;
}

function placeNode(svg, node, x, y, boxWidth) {
  const both = node.role === "frontend and replica";
  const group = draw("g", { transform: `translate(${x} ${y})` }, draw("title", {}, `${node.id}: ${node.role}${node.status ? `, ${node.status}` : ""}`));
  group.append(draw("rect", { class: `box ${node.role.includes("replica") ? "replica" : ""}`, x: -boxWidth / 2, y: 0, width: boxWidth, height: 50, rx: node.role === "client" ? 25 : 6 }));
  group.append(text(0, 20, short(node.id) + (both ? " (both)" : ""), "name", "middle"));
  if (node.status) {
    const mark = statusMark(node.status);
    mark.setAttribute("transform", `translate(${-boxWidth / 2 + 14} 36)`);
    group.append(mark, text(-boxWidth / 2 + 25, 40, node.status + (node.lag ? ` −${node.lag}` : ""), "small", "start"));
  } else {
    group.append(text(0, 40, "client", "small soft", "middle"));
  }
  svg.append(group);
  // Messages begin and end at the edge that faces the broker.
  topology.places.set(node.id, [x, node.role.includes("replica") ? y : y + 50]);
}

function text(x, y, content, className, anchor) {
  return draw("text", { x, y, class: className, "text-anchor": anchor }, content);
}

function describeTopology(nodes, replicas) {
  const told = [...nodes, ...replicas].map((node) => `${short(node.id)}, ${node.role}${node.status ? ` ${node.status}` : ""}`);
  return `${state.whole.connected ? "The broker is reachable" : "The broker is not reachable"}. ${told.join("; ")}.`;
}

// Each kind gets its turn where too many messages come at once.
function travel(events) {
  if (calm.matches || document.hidden || !topology.layer) return;
  const byKind = new Map();
  for (const event of events) {
    if (!isShown(event) || event.kind === "inner") continue;
    if (!byKind.has(event.kind)) byKind.set(event.kind, []);
    byKind.get(event.kind).push(event);
  }
  const queues = [...byKind.values()];
  for (let index = 0; queues.some((queue) => index < queue.length); index += 1) {
    for (const queue of queues) {
      const event = queue[index];
      if (!event) continue;
      for (const to of event.to) {
        if (topology.travellers.length >= TRAVELLERS_MAX) return;
        const [start, end] = [topology.places.get(event.from), topology.places.get(to)];
        if (start && end) addTraveller(event, start, end);
      }
    }
  }
}

function addTraveller(event, start, end) {
  const mark = kindMark(event.kind, event.reply);
  topology.layer.append(mark);
  const middle = [(start[0] + end[0]) / 2, topology.bus];
  topology.travellers.push({ mark, points: [start, middle, end], begun: performance.now() });
  if (!topology.ticking) {
    topology.ticking = true;
    requestAnimationFrame(moveTravellers);
  }
}

function moveTravellers(now) {
  topology.travellers = topology.travellers.filter(({ mark, points, begun }) => {
    const part = (now - begun) / TRAVEL_MS;
    if (part >= 1 || !mark.isConnected) {
      mark.remove();
      return false;
    }
    const [from, to, share] = part < 0.5 ? [points[0], points[1], part * 2] : [points[1], points[2], part * 2 - 1];
    const at = [0, 1].map((axis) => from[axis] + (to[axis] - from[axis]) * Math.max(0, share));
    mark.setAttribute("transform", `translate(${at[0].toFixed(1)} ${at[1].toFixed(1)})`);
    return true;
  });
  topology.ticking = topology.travellers.length > 0;
  if (topology.ticking) requestAnimationFrame(moveTravellers);
}
