/** Performance: rates, latency, lag, sizes, and what follows from them. */

import { goAsking, useAddress } from "../address.js";
import { useAsk } from "../asking.js";
import { Answer, Cards, Empty, Page } from "../parts/answers.js";
import { Chart } from "../parts/chart.js";
import { bytes, count, milliseconds } from "../parts/words.js";
import { type Lagging, LagTable } from "./replicas.js";

type Series = readonly (number | null)[];

interface Latency {
  readonly p50_ms: number | null;
  readonly p95_ms: number | null;
  readonly p99_ms: number | null;
  readonly mean_ms: number | null;
}

interface PerformanceAnswer {
  readonly range: string;
  readonly step_s: number;
  readonly times: readonly number[];
  readonly series: Readonly<Record<string, Series>>;
  readonly totals: {
    readonly pushes: number;
    readonly pulls: number;
    readonly changes: number;
    readonly rows: number;
    readonly errors: number;
    readonly push: Latency;
    readonly pull: Latency;
  };
  readonly lag: readonly Lagging[];
  readonly suggestions: readonly { readonly code: string; readonly text: string }[];
}

const RANGES = [
  ["1h", "the last hour"],
  ["24h", "the last day"],
  ["14d", "two weeks"],
  ["1y", "a year"],
] as const;

export function Performance() {
  const { query } = useAddress();
  const range = query.get("range") ?? "1h";
  const asked = useAsk<PerformanceAnswer>("performance", { range }, ["performance"]);
  return (
    <Page
      title="Performance"
      actions={
        <label class="inline">
          Of{" "}
          <select
            value={range}
            onChange={(event) => goAsking({ range: event.currentTarget.value })}
          >
            {RANGES.map(([value, text]) => (
              <option value={value}>{text}</option>
            ))}
          </select>
        </label>
      }
    >
      <Answer of={asked}>{(answer) => <Shown of={answer} />}</Answer>
    </Page>
  );
}

function Shown({ of }: { of: PerformanceAnswer }) {
  const { totals, series, times } = of;
  const chart = (
    title: string,
    lines: readonly (readonly [string, string])[],
    write: (value: number) => string,
  ) => (
    <Chart
      title={title}
      times={times}
      lines={lines.map(([name, text]) => ({
        name: text,
        values: series[name] ?? times.map(() => null),
      }))}
      write={write}
    />
  );
  return (
    <>
      <Cards
        of={[
          ["Pushes", count(totals.pushes)],
          ["Pulls", count(totals.pulls)],
          ["Changes taken", count(totals.changes)],
          ["Rows sent", count(totals.rows)],
          ["Errors", count(totals.errors), "sync?status=error"],
          ["Push, half within", milliseconds(totals.push?.p50_ms)],
          ["Push, 95 % within", milliseconds(totals.push?.p95_ms)],
          ["Pull, half within", milliseconds(totals.pull?.p50_ms)],
          ["Pull, 95 % within", milliseconds(totals.pull?.p95_ms)],
        ]}
      />
      <section aria-label="Suggestions">
        {of.suggestions.length === 0 ? (
          <p class="banner good">Nothing in these numbers asks for a change.</p>
        ) : (
          <ul class="warnings">
            {of.suggestions.map(({ text }) => (
              <li>{text}</li>
            ))}
          </ul>
        )}
      </section>
      {times.length === 0 ? (
        <Empty>
          <p>Nothing was recorded in this time. A hub records while it is served.</p>
        </Empty>
      ) : (
        <section class="charts" aria-label="Charts">
          {chart(
            `Requests, per ${stepText(of.step_s)}`,
            [
              ["pushes", "pushes"],
              ["pulls", "pulls"],
              ["errors", "errors"],
            ],
            count,
          )}
          {chart(
            `Changes and rows, per ${stepText(of.step_s)}`,
            [
              ["changes", "changes taken"],
              ["rows", "rows sent"],
            ],
            count,
          )}
          {chart(
            "Time of a push",
            [
              ["push_p50_ms", "half"],
              ["push_p95_ms", "95 %"],
              ["push_p99_ms", "99 %"],
            ],
            milliseconds,
          )}
          {chart(
            "Time of a pull",
            [
              ["pull_p50_ms", "half"],
              ["pull_p95_ms", "95 %"],
              ["pull_p99_ms", "99 %"],
            ],
            milliseconds,
          )}
          {chart(
            "Commits behind",
            [
              ["behind_max", "furthest"],
              ["behind_mean", "mean"],
            ],
            count,
          )}
          {chart(
            "Rows of a page",
            [
              ["page_rows_max", "largest"],
              ["page_rows_mean", "mean"],
            ],
            count,
          )}
          {chart("Size of the database", [["database_bytes", "bytes"]], bytes)}
        </section>
      )}
      <h2>Lag per replica</h2>
      <LagTable of={of.lag} empty="No replica is behind." />
    </>
  );
}

function stepText(seconds: number): string {
  if (seconds >= 3_600) return `${seconds / 3_600} h`;
  return seconds >= 60 ? `${seconds / 60} min` : `${seconds} s`;
}
