// Elements are built here and nowhere else: text is always set as text, never as HTML.
const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function draw(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Kinds of messages: name, and the shape that tells them apart without colour.
const KINDS = {
  request: ["client request", "circle"],
  accept: ["update (accept)", "square"],
  confirm: ["confirm", "diamond"],
  query: ["query", "up"],
  gossip: ["gossip", "hexagon"],
  acknowledgement: ["acknowledgement", "down"],
  pull: ["pull", "left"],
  snapshot: ["snapshot", "right"],
  status: ["status", "cross"],
  inner: ["inner step", "ring"],
};

const STATUSES = { ACTIVE: "circle", OVERLOADED: "up", OFFLINE: "square", JOINING: "diamond", LEFT: "cross", GONE: "cross" };

const SHAPES = {
  circle: "M-5 0A5 5 0 1 0 5 0A5 5 0 1 0 -5 0Z",
  ring: "M-6 0A6 6 0 1 0 6 0A6 6 0 1 0 -6 0ZM-3 0A3 3 0 1 1 3 0A3 3 0 1 1 -3 0Z",
  square: "M-4.5 -4.5H4.5V4.5H-4.5Z",
  diamond: "M0 -6L6 0L0 6L-6 0Z",
  up: "M0 -6L6 5H-6Z",
  down: "M0 6L6 -5H-6Z",
  left: "M-6 0L5 -6V6Z",
  right: "M6 0L-5 -6V6Z",
  hexagon: "M-6 0L-3 -5H3L6 0L3 5H-3Z",
  cross: "M-5 -5L5 5M5 -5L-5 5",
};

const kindMark = (kind, reply) =>
  draw("path", { d: SHAPES[(KINDS[kind] || KINDS.status)[1]], class: `mark mark-${kind}${reply ? " reply" : ""}` });
const statusMark = (status) => draw("path", { d: SHAPES[STATUSES[status] || "cross"], class: `s-${status.toLowerCase()}` });
const icon = (mark) => draw("svg", { width: 16, height: 16, viewBox: "-8 -8 16 16", "aria-hidden": "true" }, mark);

// r1-abcdefgh is r1, f-r1-abcdefgh is r1 too where both are one process.
const short = (id) => id.replace(/-[a-z]{8}$/, "");
const shortAll = (text) => text.replace(/\b([A-Za-z0-9_-]+)-[a-z]{8}\b/g, "$1");
const clock = (ms) => {
  const time = new Date(ms);
  const two = (n) => String(n).padStart(2, "0");
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${String(time.getMilliseconds()).padStart(3, "0")}`;
};
const span = (ms) => (ms < 10 ? `${ms.toFixed(1)} ms` : ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);
const many = (n) => (n >= 10000 ? `${(n / 1000).toFixed(1)} k` : String(Math.round(n)));
