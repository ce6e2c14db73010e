/** Tenants, users, roles, tokens and log-ins of the hub's directory. */

import { useAddress } from "../address.js";
import { Page } from "../parts/answers.js";
import { Tabs } from "../parts/tabs.js";
import { useSession } from "../session.js";
import { LogIns } from "./people/log_ins.js";
import { Roles } from "./people/roles.js";
import { Tenants } from "./people/tenants.js";
import { Tokens } from "./people/tokens.js";
import { Users } from "./people/users.js";

const TABS = [
  ["users", "Users", Users],
  ["tenants", "Tenants", Tenants],
  ["roles", "Roles", Roles],
  ["tokens", "Tokens", Tokens],
  ["log-ins", "Log-ins", LogIns],
] as const;

export function People() {
  const { query } = useAddress();
  const { directory } = useSession();
  const [, , Shown] = TABS.find(([name]) => name === query.get("tab")) ?? TABS[0];
  return (
    <Page title="Tenants & users">
      {directory === "host" && (
        <p class="banner">
          Users, organizations and groups are the application's own: change them in its admin.
        </p>
      )}
      <Tabs of={TABS.map(([name, text]) => [name, text] as const)} first="users" />
      <Shown />
    </Page>
  );
}
