// With --control only: the mode of a replica, and the launcher's verbs.
const MODES = ["active", "overloaded", "offline", "arbitrary", "measured"];

// Modes that are chosen and not set yet. The row of a process is made anew whenever something in it changes.
const chosenModes = new Map();

function statusControl(id, mode) {
  const select = make("select", { "aria-label": `Mode of ${short(id)}` }, ...MODES.map((name) => make("option", { value: name }, name)));
  select.value = chosenModes.get(id) || mode || "measured";
  select.onchange = () => chosenModes.set(id, select.value);
  const button = make("button", { type: "button", "aria-label": `Set the mode of ${short(id)}`, onclick: () => setMode(id, select.value) }, "Set");
  return make("span", { class: "actions" }, select, button);
}

function setMode(replica, mode) {
  chosenModes.delete(replica);
  return change("control-outcome", "/status", { replica, mode }, `${short(replica)}: setting the mode ${mode}`);
}

// Asks the observer for a change, and shows what became of it.
async function change(place, path, body, begun) {
  const outcome = byId(place);
  outcome.textContent = begun;
  try {
    const token = document.querySelector('meta[name="natter-token"]').content;
    const answer = await fetch(path, { method: "POST", headers: { "x-natter-token": token }, body: JSON.stringify(body) });
    const words = (await answer.text()).trim();
    outcome.textContent = answer.ok ? shortAll(words) : `Not done: ${shortAll(words)}`;
  } catch {
    outcome.textContent = "Not done: the observer does not answer.";
  }
}

// Where a launcher started the observer: its processes, and the verbs that it performs.
const VERBS = {
  running: ["pause", "restart", "kill"],
  paused: ["resume", "restart", "kill"],
  killed: ["restart"],
  ended: ["restart"],
};

function verbButton(verb, name, text) {
  const line = name ? `${verb} ${name}` : verb;
  return make("button", { type: "button", "aria-label": name ? line : null, onclick: () => change("launcher-outcome", "/verb", { verb: line }, `${line}: asked`) }, text);
}

const capital = (word) => word[0].toUpperCase() + word.slice(1);

function renderLauncher() {
  const launcher = state.whole.launcher;
  byId("launcher-panel").hidden = !launcher;
  if (!launcher) return;
  // The button that was pressed keeps the focus while its row is made anew.
  const focused = byId("launcher").contains(document.activeElement) ? document.activeElement.textContent + document.activeElement.getAttribute("aria-label") : null;
  show("launcher", launcher, () => {
    const all = make("div", { class: "actions" }, verbButton("add replica", "", "Add replica"), verbButton("add frontend", "", "Add frontend"));
    if (launcher.link === "works") all.append(verbButton("cut", "", "Cut the link"), "The link between the sites works.");
    if (launcher.link === "cut") all.append(verbButton("heal", "", "Heal the link"), "The link between the sites is cut.");
    const rows = launcher.members.map(({ name, role, site, condition }) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, role),
      ...(site ? [make("td", {}, site)] : []), make("td", {}, condition),
      make("td", {}, make("span", { class: "actions" }, ...(VERBS[condition] || []).map((verb) => verbButton(verb, name, capital(verb)))))));
    const head = [["process"], ["role"], ...(launcher.link ? [["site"]] : []), ["condition"], ["change"]];
    return make("div", {}, all, table("Processes of the launcher", head, rows));
  });
  if (focused === null || byId("launcher").contains(document.activeElement)) return;
  const buttons = [...byId("launcher").querySelectorAll("button")];
  (buttons.find((button) => button.textContent + button.getAttribute("aria-label") === focused) || byId("launcher")).focus();
}
