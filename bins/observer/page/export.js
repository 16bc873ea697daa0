// The diagram as an SVG file of its own, with the colours of the page written into it.
const EXPORT_ROWS_MAX = 400;

function exportDiagram() {
  renderDiagram();
  const rows = diagram.rows.slice(-EXPORT_ROWS_MAX);
  const geometry = diagramGeometry();
  const height = rows.length * ROW + 56;
  const value = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const kinds = Object.keys(KINDS).map((kind) => `.mark-${kind}{fill:${value(kind)};stroke:${value(kind)}}`);
  const style = [
    "text{font-family:sans-serif}", `.name{font-size:14px;font-weight:600;fill:${value("text")}}`,
    `.small{font-size:11.5px;fill:${value("text")}}`, `.soft{fill:${value("soft")}}`, `.life{stroke:${value("line")};stroke-width:2}`,
    ...kinds, `.mark.reply{fill:${value("panel")}}`, ".arrow{fill:none;stroke-width:1.8}.arrow.reply:not(.head){stroke-dasharray:5 3}.arrow.failed{stroke-width:3}",
    ".hit{fill:none;stroke:none}.row.dim{opacity:.16}.row.way .arrow{stroke-width:3.2}",
  ].join("");
  const svg = draw("svg", { xmlns: SVG, width: geometry.width, height, viewBox: `0 0 ${geometry.width} ${height}` });
  svg.append(draw("title", {}, "Space-time diagram of a Natter cluster"), draw("style", {}, style), draw("rect", { width: "100%", height: "100%", fill: value("panel") }));
  for (const name of diagram.names) {
    svg.append(text(geometry.x(name), 22, fitting(short(name), geometry.gap), "name", "middle"));
    svg.append(draw("line", { class: "life", x1: geometry.x(name), x2: geometry.x(name), y1: 32, y2: height }));
  }
  rows.forEach((event, index) => svg.append(drawRow(event, 40 + index * ROW, geometry)));
  const file = new Blob([new XMLSerializer().serializeToString(svg)], { type: "image/svg+xml" });
  const address = URL.createObjectURL(file);
  make("a", { href: address, download: "natter-space-time.svg" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
