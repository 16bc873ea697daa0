// Opens the observer's page in a headless Chromium. Each line of standard input is a step, each line of standard output
// the outcome of one, as JSON. Arguments: address of the page, program of the browser, folder for screenshots or nothing.
const { chromium } = require("playwright-core");
const axe = require("fs").readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const lines = require("readline").createInterface({ input: process.stdin });
const [address, executablePath, screenshots] = process.argv.slice(2);
const PATIENCE = { timeout: 60000 };

async function main() {
  const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"];
  const browser = await chromium.launch({ executablePath, args });
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: "light" });
  // The policy of the page permits no other scripts, so this one comes by the debugger.
  await context.addInitScript({ content: axe });
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => { if (["error", "warning"].includes(message.type())) complaints.push(message.text()); });
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.goto(address);
  const steps = {
    // As many processes as this have the status ACTIVE.
    async active({ count }) {
      await page.waitForFunction((n) => document.querySelectorAll("#processes .s-active").length === n, count, PATIENCE);
      return {};
    },
    // An update is in the list, and the messages of its way are in the diagram. The time of both, in Unix milliseconds.
    async update({ what, messages }) {
      await page.waitForFunction(([text, n]) => {
        const row = [...document.querySelectorAll("#updates tbody tr")].find((candidate) => candidate.textContent.includes(text));
        return row && document.querySelectorAll("#diagram [data-seq]").length >= n;
      }, [what, messages], { ...PATIENCE, polling: 20 });
      return { at: Date.now() };
    },
    // The steps of the way of an update, in the order in which the page lists them.
    async way({ what }) {
      await page.locator("#updates tbody tr", { hasText: what }).getByRole("button").click();
      await page.waitForSelector("#way tbody tr", PATIENCE);
      const rows = await page.locator("#way tbody tr").evaluateAll((trs) => trs.map((tr) => [...tr.cells].map((cell) => cell.textContent)));
      const marked = await page.locator("#diagram .row.way").count();
      await page.getByRole("button", { name: "End the highlight" }).click();
      await page.locator("#pause").click();
      return { rows, marked };
    },
    async status({ replica, status }) {
      await page.waitForFunction(([name, text]) => [...document.querySelectorAll("#processes tbody tr")]
        .some((row) => row.cells[0].textContent === name && row.cells[2].textContent.includes(text)), [replica, status], PATIENCE);
      return {};
    },
    // Sets a mode by the page's own button.
    async set({ replica, mode }) {
      await page.getByLabel(`Mode of ${replica}`, { exact: true }).selectOption(mode);
      await page.getByRole("button", { name: `Set the mode of ${replica}` }).click();
      return {};
    },
    // Presses a button of the launcher's panel.
    async press({ button }) {
      await page.locator("#launcher").getByRole("button", { name: button, exact: true }).click();
      return {};
    },
    // Serious violations of accessibility, and whether the page is wider than the window, in each form.
    async looks() {
      const found = [];
      for (const [name, colorScheme, width, height] of [["light", "light", 1280, 900], ["dark", "dark", 1280, 900], ["narrow", "light", 400, 800]]) {
        await page.emulateMedia({ colorScheme });
        await page.setViewportSize({ width, height });
        await page.waitForFunction((wide) => document.querySelector("#topology svg").getAttribute("width") <= wide, width, PATIENCE);
        const { violations } = await page.evaluate(() => window.axe.run());
        const serious = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
        found.push(...serious.map(({ id, nodes }) => `${name}: ${id}: ${nodes[0].html.slice(0, 200)}`));
        if (await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth)) found.push(`${name}: wider than the window`);
        if (screenshots) await page.screenshot({ path: `${screenshots}/${name}.png`, fullPage: true });
      }
      return { found };
    },
    async exported() {
      const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Export SVG" }).click()]);
      return { svg: require("fs").readFileSync(await download.path(), "utf8").slice(0, 200) };
    },
    async connection({ text }) {
      await page.waitForFunction((words) => document.getElementById("connection").textContent.includes(words), text, PATIENCE);
      return {};
    },
    // Frames a second that the page was drawn with, and the longest time between two of them.
    async frames({ seconds }) {
      return page.evaluate((limit) => new Promise((resolve) => {
        let [first, last, count, longest] = [undefined, undefined, 0, 0];
        const frame = (now) => {
          if (first === undefined) first = now;
          else { count += 1; longest = Math.max(longest, now - last); }
          last = now;
          if (now - first < limit * 1000) requestAnimationFrame(frame);
          else resolve({ rate: count / (now - first) * 1000, longest_ms: longest });
        };
        requestAnimationFrame(frame);
      }), seconds);
    },
    // Memory of the page's objects, once those that nothing refers to are gone.
    async heap() {
      const session = await context.newCDPSession(page);
      await session.send("HeapProfiler.collectGarbage");
      const { usedSize } = await session.send("Runtime.getHeapUsage");
      await session.detach();
      return { bytes: usedSize };
    },
    async complaints() {
      return { complaints };
    },
  };
  console.log(JSON.stringify({ opened: true }));
  for await (const line of lines) {
    const { step, ...details } = JSON.parse(line);
    console.log(JSON.stringify(await steps[step](details)));
  }
  await browser.close();
}

main().catch((error) => {
  console.log(JSON.stringify({ error: String(error) }));
  process.exit(1);
});
