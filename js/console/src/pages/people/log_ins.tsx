/** Log-ins: where people are logged in with a password, and ending that. */

import { useAddress } from "../../address.js";
import { useList } from "../../asking.js";
import { Nothing } from "../../parts/answers.js";
import { EditedRows, remove } from "../../parts/editing.js";
import { NameFilter } from "../../parts/forms.js";
import { When } from "../../parts/words.js";
import { TOPICS, useOwn } from "./directory.js";

interface LogIn {
  readonly id: string;
  readonly user: string;
  readonly tenant: string | null;
  readonly device: string | null;
  readonly created_ms: number;
  readonly used_ms: number;
  readonly expires_ms: number;
}

export function LogIns() {
  const { query } = useAddress();
  const asked = useList<LogIn>("log-ins", { user: query.get("user") }, TOPICS);
  return (
    <>
      <NameFilter name="user" label="User" />
      <EditedRows
        of={asked}
        what="log-in"
        caption="Log-ins"
        whyNot={useOwn()}
        nameOf={(one) => one.user}
        columns={[
          { name: "User", show: (one) => one.user },
          { name: "Tenant", show: (one) => one.tenant ?? "" },
          { name: "Device", show: (one) => one.device ?? "" },
          { name: "Since", show: (one) => <When ms={one.created_ms} /> },
          { name: "Used", show: (one) => <When ms={one.used_ms} /> },
          { name: "Until", show: (one) => <When ms={one.expires_ms} /> },
        ]}
        removal={{
          action: "Log out",
          title: (one) => `Log ${one.user} out?`,
          text: (one) => `${one.device || "The device"} must log in again.`,
          done: (one) => `${one.user} is logged out.`,
          run: (one) => remove("log-ins", { id: one.id }),
        }}
        empty={
          <Nothing
            yet="Nobody is logged in with a password."
            filtered="They are logged in nowhere."
            by={["user"]}
          />
        }
      />
    </>
  );
}
