/** The chat: messages are rows, so they are written offline like everything else. */

import { el, keep, time, whatWaits } from "./elements.js";

export function show(db, main, name) {
  const messages = db.table("message");
  let [rows, waiting] = [[], new Set()];
  const list = el("ol", { className: "list", "aria-label": "Messages", "aria-live": "polite" });
  const text = el("input", { placeholder: "Message", "aria-label": "Message", required: true, autocomplete: "off" });
  const send = async (event) => {
    event.preventDefault();
    const body = text.value.trim();
    text.value = "";
    if (body === "") return;
    const sent_at = new Date().toISOString();
    await messages.create(crypto.randomUUID(), { author: name, body, sent_at });
  };
  main.append(
    el("div", { className: "talk" }, list),
    el("form", { className: "row at-end", onsubmit: send }, el("span", { className: "grow" }, text), el("button", { className: "main" }, "Send")),
  );

  function draw() {
    const isAtEnd = innerHeight + scrollY >= document.body.scrollHeight - 80;
    keep(list, rows, (message) => message.id, ({ id, author, body, sent_at }) => {
      const state = el("small");
      const element = el("li", { className: author === name ? "mine" : "" }, body, state);
      element.refresh = () => {
        const who = author === name ? "" : `${author}, `;
        state.textContent = `${who}${time(sent_at)}${waiting.has(id) ? " · not sent yet" : ""}`;
      };
      return element;
    });
    if (isAtEnd) scrollTo(0, document.body.scrollHeight);
  }

  messages.orderBy("sent_at").live((found) => {
    rows = found;
    draw();
  });
  whatWaits(db, "message", (keys) => {
    waiting = keys;
    draw();
  });
}
