/** Jobs: what the hub does again and again, and which process does it. */

import { useList } from "../asking.js";
import { Page, Rows } from "../parts/answers.js";
import { Tag, When } from "../parts/words.js";

interface Job {
  readonly name: string;
  readonly seconds: number;
  readonly is_here: boolean;
  readonly holder: string | null;
  readonly until_ms: number | null;
}

export function Jobs() {
  const asked = useList<Job>("jobs", {}, ["performance"]);
  return (
    <Page
      title="Jobs"
      lead="What the hub's processes do again and again, each once in the whole cluster."
    >
      <Rows
        of={asked}
        caption="Jobs"
        columns={[
          { name: "Job", show: (job) => job.name },
          { name: "Every", show: (job) => `${job.seconds} s` },
          { name: "Done by", show: (job) => job.holder ?? <span class="soft">nobody now</span> },
          { name: "Holds it until", show: (job) => <When ms={job.until_ms} /> },
          {
            name: "",
            show: (job) =>
              job.is_here ? <Tag is="good">known here</Tag> : <Tag>in another process</Tag>,
          },
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
