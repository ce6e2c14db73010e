/** A device: a replica in this browser, a switch that takes its network away, and one demo. */

import { connect } from "/sync/client.js";
import { el } from "./elements.js";
import { Line } from "./line.js";

const TABLES = {
  board: ["airline", "flight", "task"],
  chat: ["message"],
  notifications: ["notification"],
  chart: ["sample"],
  shop: ["product", "cart", "purchase"],
};

const asked = new URLSearchParams(location.search);
const name = asked.get("name") ?? "Ada";
const demo = asked.get("demo") in TABLES ? asked.get("demo") : "board";
const [how, main, toggle] = ["header .how", "main", ".switch"].map((s) => document.querySelector(s));
const line = new Line();

document.querySelector("h1").textContent = `${name}'s device`;
document.title = `${name}'s device · reunite`;
toggle.addEventListener("click", () => {
  line.switch(!line.isOn);
  toggle.setAttribute("aria-checked", String(line.isOn));
  document.body.classList.toggle("is-off", !line.isOn);
});

/** A token for whoever asks; asked for again when the hub does not know the one at hand. */
async function token() {
  const answer = await line.fetch(`/token?name=${name}`, { method: "POST" });
  return (await answer.json()).token;
}

try {
  const db = await connect("/sync", {
    token,
    tables: TABLES[demo],
    name: `demo ${demo} ${name}`, // two devices in one browser: each has a database of its own
    label: `${name}'s ${demo}`,
    fetch: line.fetch,
  });
  globalThis.db = db; // for the console
  const say = ({ phase, pending }) => {
    const waiting = pending === 0 ? "" : ` · ${pending} ${pending === 1 ? "change waits" : "changes wait"}`;
    const words = { live: "live", polling: "live", offline: "offline", connecting: "connecting …" };
    how.textContent = (words[phase] ?? phase) + waiting;
  };
  db.on("status", say);
  // The browser took the replica away: a page that is loaded again has another one.
  db.on("error", ({ code }) => code === "storage-lost" && location.reload());
  say(db.status);
  const { show } = await import(`./${demo}.js`);
  show(db, main, name);
} catch (error) {
  how.textContent = "not connected";
  main.append(el("p", { className: "notice", role: "alert" }, error.message));
}
