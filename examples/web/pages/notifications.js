/** Notifications: rows that a job at the backend writes, and one column that people write. */

import { el, focusOn, keep, time } from "./elements.js";

export function show(db, main) {
  const notifications = db.table("notification");
  let rows = [];
  const badge = el("span", { className: "badge", role: "status" });
  const markAll = async () => {
    await db.transaction(async (tx) => {
      for (const { id } of await tx.where("notification", { is_read: false })) {
        await tx.update("notification", id, { is_read: true });
      }
    });
    focusOn(list); // the button has nothing to do any more
  };
  const all = el("button", { type: "button", onclick: markAll }, "Mark all as read");
  const list = el("ul", { className: "list news", "aria-label": "Notifications" });
  main.append(el("div", { className: "row" }, badge, el("span", { className: "grow" }, "not read yet"), all), list);

  notifications.orderBy("at", "descending").orderBy("id", "descending").live((found) => {
    rows = found;
    const unread = rows.filter((row) => !row.is_read).length;
    badge.textContent = unread;
    document.title = unread > 0 ? `(${unread}) Notifications` : "Notifications";
    all.disabled = unread === 0;
    keep(list, rows, (row) => row.id, ({ id, body, at }) => {
      const read = el("button", { type: "button", onclick: () => notifications.update(id, { is_read: true }) }, "Mark as read");
      read.setAttribute("aria-label", `Mark as read: ${body}`);
      const element = el("li", { className: "card" }, el("div", {}, el("p", {}, body), el("p", { className: "soft" }, time(at))), read);
      element.refresh = ({ is_read }) => {
        element.classList.toggle("is-read", is_read);
        read.hidden = is_read;
      };
      return element;
    });
  });
}
