/** Lines over time. What they show stands in a table below, for whoever does not see lines. */

import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

interface Line {
  readonly name: string;
  readonly values: readonly (number | null)[];
}

const HEIGHT = 180;
const TABLE_ROWS = 12;

export function Chart({
  title,
  times,
  lines,
  write,
}: {
  title: string;
  times: readonly number[];
  lines: readonly Line[];
  write: (value: number) => string;
}) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [theme, setTheme] = useState(0);
  const data = [times, ...lines.map((line) => line.values)] as unknown as uPlot.AlignedData;
  const shape = `${theme} ${lines.map((line) => line.name).join(" ")}`;
  useEffect(() => {
    const again = () => setTheme((before) => before + 1);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", again);
    const watched = new MutationObserver(again);
    watched.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    return () => {
      dark.removeEventListener("change", again);
      watched.disconnect();
    };
  }, []);
  // biome-ignore lint/correctness/useExhaustiveDependencies: `shape` stands for lines; data follows below
  useEffect(() => {
    const box = place.current!;
    const colour = (name: string) => {
      box.style.color = `var(${name})`;
      const found = getComputedStyle(box).color;
      box.style.color = "";
      return found;
    };
    const axis = {
      stroke: colour("--soft"),
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { stroke: colour("--line"), width: 1 },
    };
    plot.current = new uPlot(
      {
        width: box.clientWidth,
        height: HEIGHT,
        series: [
          { value: (_: uPlot, at: number | null) => (at === null ? "–" : timeText(times)(at)) },
          ...lines.map((line, index) => ({
            label: line.name,
            stroke: colour(`--line-${index + 1}`),
            width: 2,
            points: { show: true, size: 5, fill: colour(`--line-${index + 1}`) },
            value: (_: uPlot, value: number | null) => (value === null ? "–" : write(value)),
          })),
        ],
        axes: [
          {
            ...axis,
            space: 70,
            values: (_: uPlot, splits: number[]) => splits.map(timeText(times)),
          },
          { ...axis, size: 70, values: (_: uPlot, splits: number[]) => splits.map(write) },
        ],
        scales: {
          y: { range: (_: uPlot, __: number, max: number) => [0, Math.max(1, max * 1.1)] },
        },
      },
      data,
      box,
    );
    const resized = new ResizeObserver(() => {
      if (box.clientWidth > 0) plot.current?.setSize({ width: box.clientWidth, height: HEIGHT });
    });
    resized.observe(box);
    return () => {
      resized.disconnect();
      plot.current?.destroy();
    };
  }, [shape]);
  useEffect(() => plot.current?.setData(data), [data]);
  return (
    <figure class="chart">
      <figcaption>{title}</figcaption>
      <div ref={place} aria-hidden="true" />
      <details>
        <summary>The newest numbers</summary>
        <table>
          <thead>
            <tr>
              <th scope="col">Time</th>
              {lines.map((line) => (
                <th scope="col" class="number">
                  {line.name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {[...times.keys()]
              .slice(-TABLE_ROWS)
              .reverse()
              .map((index) => (
                <tr>
                  <td>{new Date(times[index]! * 1_000).toLocaleString("en-GB")}</td>
                  {lines.map((line) => {
                    const value = line.values[index];
                    return (
                      <td class="number">
                        {value === null || value === undefined ? "–" : write(value)}
                      </td>
                    );
                  })}
                </tr>
              ))}
          </tbody>
        </table>
      </details>
    </figure>
  );
}

const DAY_S = 86_400;

/** How times of a chart are written: the hour within two days, else the day. */
function timeText(times: readonly number[]): (at: number) => string {
  const isLong = (times.at(-1) ?? 0) - (times[0] ?? 0) > 2 * DAY_S;
  const format: Intl.DateTimeFormatOptions = isLong
    ? { day: "numeric", month: "short" }
    : { hour: "2-digit", minute: "2-digit" };
  return (at) => new Date(at * 1_000).toLocaleString("en-GB", format);
}
