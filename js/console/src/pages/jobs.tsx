/** Jobs: what this process of the hub does again and again. */

import { useList } from "../asking.js";
import { Page, Rows } from "../parts/answers.js";

interface Job {
  readonly name: string;
  readonly seconds: number;
}

export function Jobs() {
  const asked = useList<Job>("jobs", {}, ["performance"]);
  return (
    <Page
      title="Jobs"
      lead="What the hub does again and again, each job once in the whole cluster. These are the jobs of the process that answers here."
    >
      <Rows
        of={asked}
        caption="Jobs"
        columns={[
          { name: "Job", show: (job) => job.name },
          { name: "Every", show: (job) => `${job.seconds} s` },
        ]}
        empty={
          <p>
            There are none: a function with <code>@hub.every(seconds=60)</code> is one.
          </p>
        }
      />
    </Page>
  );
}
