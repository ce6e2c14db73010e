/** The live chart: the last minutes of the backend's machine, drawn by uPlot. */

import { el } from "./elements.js";

const SERIES = { cpu: ["Processors", "%"], memory: ["Memory", "%"], load: ["Load", ""] };

export async function show(db, main) {
  const values = {};
  const numbers = el("dl", { className: "numbers" }, ...Object.entries(SERIES).map(([name, [text]]) => {
    values[name] = el("dd", {}, "–");
    return el("div", {}, el("dt", {}, text), values[name]);
  }));
  const place = el("div", { className: "chart" });
  main.append(numbers, place);
  const draw = await drawing(place);
  db.table("sample").orderBy("at").live((rows) => {
    const last = rows.at(-1);
    for (const [name, [, unit]] of Object.entries(SERIES)) {
      const value = last?.[name];
      values[name].textContent = value == null ? "–" : `${value.toFixed(name === "load" ? 2 : 1)} ${unit}`;
    }
    draw(rows);
  });
}

/** What draws rows; a table of the last ones where uPlot is not there. */
async function drawing(place) {
  let Plot;
  try {
    ({ default: Plot } = await import("/uplot/uPlot.esm.js"));
  } catch {
    place.append(el("p", { className: "soft" }, "For the chart, install Node and run make setup: uPlot comes with it."));
    return () => {};
  }
  document.head.append(el("link", { rel: "stylesheet", href: "/uplot/uPlot.min.css" }));
  const colour = (name) => getComputedStyle(document.body).getPropertyValue(name);
  let plot = null;
  let shown = [];
  const data = () => [shown.map((row) => row.at / 1000), ...["cpu", "memory"].map((name) => shown.map((row) => row[name]))];
  const size = () => ({ width: Math.max(240, place.clientWidth), height: Math.max(240, Math.min(420, innerHeight - 320)) });
  const build = () => {
    plot?.destroy();
    const ink = resolved("--soft");
    const axis = { stroke: ink, grid: { stroke: resolved("--line"), width: 1 }, ticks: { stroke: resolved("--line"), width: 1 } };
    plot = new Plot({
      ...size(),
      scales: { y: { range: [0, 100] } },
      axes: [axis, { ...axis, values: (_, ticks) => ticks.map((tick) => `${tick} %`), size: 56 }],
      series: [
        {},
        { label: "Processors", stroke: resolved("--accent"), width: 2, value: (_, v) => (v == null ? "–" : `${v} %`) },
        { label: "Memory", stroke: resolved("--warm"), width: 2, value: (_, v) => (v == null ? "–" : `${v} %`) },
      ],
    }, data(), place);
  };
  /** What a colour is in the mode of now: a canvas does not know `light-dark()`. */
  function resolved(name) {
    const probe = el("i", { style: `color: ${colour(name)}` });
    place.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  }
  new ResizeObserver(() => plot?.setSize(size())).observe(place);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", build);
  build();
  return (rows) => {
    shown = rows;
    plot.setData(data());
  };
}
