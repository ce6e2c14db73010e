/** The task board: three lanes of tasks around real flights, and what could not be merged. */

import { el, focusOn, keep, whatWaits } from "./elements.js";

const LANES = ["To do", "Doing", "Done"];
const PEOPLE = ["", "Ada", "Ben"];
const NAMES = { title: "title", lane: "lane", owner: "owner", note: "note", flight_id: "flight" };

export function show(db, main) {
  const tasks = db.table("task");
  let [rows, flights, airlines, waiting] = [[], new Map(), new Map(), new Set()];
  const lists = new Map();
  const cards = new Map(); // by task: a card goes from lane to lane, with its focus

  const title = el("input", { placeholder: "New task", "aria-label": "New task", required: true });
  const flightOf = el("select", { "aria-label": "Flight" });
  const adding = el(
    "form",
    { className: "row adding", onsubmit: add },
    el("span", { className: "grow" }, title),
    flightOf,
    el("button", { className: "main" }, "Add"),
  );
  const notices = el("div", { className: "list", "aria-live": "polite" });
  const lanes = el("div", { className: "lanes" });
  for (const lane of LANES) {
    const list = el("ul", { className: "list", "aria-label": lane });
    lists.set(lane, list);
    lanes.append(el("section", {}, el("h2", {}, lane), list));
  }
  main.append(notices, adding, lanes);

  async function add(event) {
    event.preventDefault();
    const flight_id = flightOf.value === "" ? null : Number(flightOf.value);
    await tasks.create(crypto.randomUUID(), { title: title.value, flight_id, lane: LANES[0] });
    title.value = "";
    title.focus();
  }

  function draw() {
    const focused = lanes.contains(document.activeElement) ? document.activeElement : null;
    for (const lane of LANES) {
      const own = rows.filter((task) => task.lane === lane || (lane === LANES[0] && !LANES.includes(task.lane)));
      keep(lists.get(lane), own, (task) => task.id, cardOf);
    }
    if (focused?.isConnected) focused.focus();
    const there = new Set(rows.map(({ id }) => id));
    for (const id of cards.keys()) if (!there.has(id)) cards.delete(id);
  }

  function cardOf(task) {
    if (!cards.has(task.id)) cards.set(task.id, card(task));
    return cards.get(task.id);
  }

  function card(first) {
    const head = el("h3");
    const [about, note, state] = ["soft", "", "waits"].map((className) => el("p", { className }));
    const lane = el("select", {
      onchange: () => tasks.update(first.id, { lane: lane.value }),
    }, ...LANES.map((name) => el("option", {}, name)));
    let task = first;
    const edit = el("button", { type: "button", onclick: () => openForm(task) }, "Edit");
    const element = el("li", { className: "card" }, head, about, note, el("div", { className: "row" }, lane, edit), state);
    element.refresh = (now) => {
      task = now;
      const flight = flights.get(task.flight_id);
      head.textContent = task.title;
      about.textContent = [task.owner, flight && `${flight.carrier} ${flight.number} to ${flight.dest}, ${flight.departs}`]
        .filter(Boolean).join(" · ");
      about.title = flight ? `${airlines.get(flight.carrier)}, aircraft ${flight.tailnum}` : "";
      note.textContent = task.note;
      note.hidden = task.note === "";
      state.textContent = waiting.has(task.id) ? "not sent yet" : "";
      state.hidden = !waiting.has(task.id);
      lane.value = task.lane;
      lane.setAttribute("aria-label", `Lane of ${task.title}`);
      edit.setAttribute("aria-label", `Edit ${task.title}`);
    };
    return element;
  }

  function openForm(task) {
    const fields = {
      title: el("input", { value: task.title, required: true }),
      note: el("textarea", { value: task.note, rows: 2 }),
      owner: el("select", {}, ...PEOPLE.map((name) => el("option", { value: name }, name || "nobody"))),
      flight_id: flightOf.cloneNode(true),
    };
    fields.owner.value = task.owner;
    fields.flight_id.removeAttribute("aria-label");
    fields.flight_id.value = task.flight_id ?? "";
    const labels = Object.entries(fields).map(([name, field]) => {
      const text = NAMES[name];
      return el("label", {}, text[0].toUpperCase() + text.slice(1), field);
    });
    const dialog = el("dialog", { "aria-label": `Edit ${task.title}`, onclose: () => dialog.remove() });
    const save = async (event) => {
      event.preventDefault();
      const wanted = Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, field.value]));
      wanted.flight_id = wanted.flight_id === "" ? null : Number(wanted.flight_id);
      // Only what is other than before: a column that nobody touched cannot collide.
      const changed = Object.entries(wanted).filter(([name, value]) => value !== task[name]);
      if (changed.length > 0) await tasks.update(task.id, Object.fromEntries(changed));
      dialog.close();
    };
    const remove = async () => {
      dialog.close(); // first: the focus is on the card then, and goes to its neighbour
      await tasks.delete(task.id);
    };
    dialog.append(el(
      "form",
      { onsubmit: save },
      ...labels,
      el(
        "div",
        { className: "row" },
        el("button", { className: "main" }, "Save"),
        el("button", { type: "button", onclick: () => dialog.close() }, "Cancel"),
        el("span", { className: "grow" }),
        el("button", { type: "button", className: "plain", onclick: remove }, "Delete"),
      ),
    ));
    document.body.append(dialog);
    dialog.showModal();
  }

  /** What collided and what was refused, until somebody has looked at it. */
  async function tell() {
    const [conflicts, parked] = [await db.conflicts(), await db.parked()];
    const found = [...conflicts, ...parked.map((change) => ({ ...change, isParked: true }))];
    keep(notices, found, (item) => `${item.isParked} ${item.id} ${item.isOpen}`, (item) => {
      const task = rows.find(({ id }) => id === item.key);
      const about = `“${task?.title ?? item.key}”`;
      return item.isParked ? refused(item, about) : collided(item, about);
    });
  }

  function refused({ id, reason }, about) {
    const drop = async () => {
      await db.discard(id);
      tell();
    };
    return el("div", { className: "notice" }, el("p", {}, el("strong", {}, "Refused. "), `${about}: ${reason}`),
      el("div", {}, el("button", { type: "button", onclick: drop }, "Put it away")));
  }

  function collided({ id, table, key, column, hub, replica, result, isOpen }, about) {
    const done = async () => {
      await db.dismiss(id);
      tell();
    };
    const taking = (value) => async () => {
      if (isOpen) await db.decide(id, value);
      else if (column !== null && value !== result) await db.table(table).update(key, { [column]: value });
      await done();
    };
    const what = column === null ? "One deleted it, the other changed it" : `Two ${NAMES[column] ?? column}s`;
    const sentence = isOpen ? "Which one shall it be?" : "The later one counts, unless you want the other.";
    const words = (value) => (value === null || value === "" ? "(nothing)" : String(value));
    const choice = (text, value) =>
      el("button", { type: "button", onclick: taking(value) }, el("small", {}, text), words(value));
    const choices = column === null
      ? [el("button", { type: "button", onclick: done }, "All right")]
      : [choice("Theirs", hub), choice("Mine", replica)];
    return el("div", { className: "notice", role: "group", "aria-label": `Conflict of ${about}` },
      el("p", {}, el("strong", {}, `${what} for ${about}. `), column === null ? "" : sentence),
      el("div", { className: "choices" }, ...choices));
  }

  db.table("flight").orderBy("departs").live((found) => {
    flights = new Map(found.map((flight) => [flight.id, flight]));
    const chosen = flightOf.value;
    const texts = found.map(({ id, carrier, number, dest }) => [id, `${carrier} ${number} to ${dest}`]);
    flightOf.replaceChildren(...[["", "No flight"], ...texts].map(([value, text]) => el("option", { value }, text)));
    flightOf.value = chosen;
    draw();
  });
  db.table("airline").live((found) => {
    airlines = new Map(found.map(({ carrier, name }) => [carrier, name]));
    draw();
  });
  tasks.orderBy("title").live((found) => {
    rows = found;
    draw();
    tell();
  });
  whatWaits(db, "task", (keys) => {
    waiting = keys;
    draw();
  });
  db.on("conflict", tell);
  db.on("rejected", tell);
}
