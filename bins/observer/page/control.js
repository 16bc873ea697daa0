// With --control only: the mode of a replica.
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

async function setMode(replica, mode) {
  chosenModes.delete(replica);
  const outcome = byId("control-outcome");
  outcome.textContent = `${short(replica)}: setting the mode ${mode}`;
  try {
    const token = document.querySelector('meta[name="natter-token"]').content;
    const answer = await fetch("/status", { method: "POST", headers: { "x-natter-token": token }, body: JSON.stringify({ replica, mode }) });
    const words = (await answer.text()).trim();
    outcome.textContent = answer.ok ? shortAll(words) : `Not done: ${shortAll(words)}`;
  } catch {
    outcome.textContent = "Not done: the observer does not answer.";
  }
}
