// Numbers, and curves of the last minute.
function renderNumbers() {
  const { view, now, sampled } = state.whole;
  const rates = view.rates;
  const approximately = sampled.includes("requests of clients") ? "≈ " : "";
  const since = view.agreement_since ? ` for ${span(Math.max(0, now - view.agreement_since)).replace(/\.\d s/, " s")}` : "";
  const words = { equal: ["equal", "good"], diverged: ["DIVERGED", "bad"], spreading: ["spreading", ""], unknown: ["not known", ""] };
  const [agreement, mood] = words[view.agreement] || [view.agreement, ""];
  const lag = view.lag.length ? view.lag[view.lag.length - 1] : 0;
  const latency = (value) => (value === null ? "none seen" : span(value));
  const facts = [
    ["Digests", agreement + since, mood], ["Lag now", lag > 0 ? span(lag) : "none", ""],
    ["Operations per second", approximately + many(rates.now), ""], ["Median latency", latency(rates.p50), ""],
    ["95 %", latency(rates.p95), ""], ["99 %", latency(rates.p99), ""],
    ["Answers seen, last minute", many(rates.answered), ""], ["Failures among them", many(rates.failed), rates.failed ? "bad" : ""],
    ["Malformed messages", many(view.malformed), view.malformed ? "bad" : ""],
  ];
  show("numbers", facts, () => {
    const list = document.createDocumentFragment();
    for (const [name, value, className] of facts) list.append(make("div", {}, make("dt", {}, name), make("dd", { class: className || null }, value)));
    return list;
  });
  renderCurve("lag-chart", view.lag, 120, span, "Greatest lag of a replica in service");
  renderCurve("rate-chart", rates.curve, 60, many, "Operations per second");
}

function renderCurve(id, points, places, format, name) {
  const host = byId(id);
  const [width, height] = [Math.max(200, host.clientWidth), 74];
  const most = Math.max(...points, 0);
  show(id, [points, width], () => {
    const x = (index) => width - ((points.length - 1 - index) * width) / (places - 1);
    const y = (value) => height - 4 - (most ? (value / most) * (height - 22) : 0);
    const curve = points.map((value, index) => `${x(index).toFixed(1)} ${y(value).toFixed(1)}`);
    const svg = draw("svg", { width, height, role: "img", "aria-label": `${name}: now ${format(points.length ? points[points.length - 1] : 0)}, greatest in the last minute ${format(most)}` });
    svg.append(draw("line", { class: "axis", x1: 0, x2: width, y1: height - 4, y2: height - 4 }));
    if (curve.length > 1) {
      svg.append(draw("path", { class: "area", d: `M${x(0).toFixed(1)} ${height - 4}L${curve.join("L")}L${width} ${height - 4}Z` }));
      svg.append(draw("path", { class: "curve", d: `M${curve.join("L")}` }));
    }
    svg.append(text(2, 13, `greatest: ${format(most)}`, "small soft", "start"));
    return svg;
  });
}
