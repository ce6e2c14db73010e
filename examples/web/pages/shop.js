/** The shop: a cart that is yours alone, and an order that the backend takes or refuses whole. */

import { el, focusOn, keep, time, whatWaits } from "./elements.js";

const money = (cents) => `$${(cents / 100).toFixed(2)}`;

export function show(db, main, buyer) {
  let [products, cart, orders, waiting] = [new Map(), [], [], new Set()];
  const notices = el("div", { className: "list", "aria-live": "assertive" });
  const goods = el("ul", { className: "list goods", "aria-label": "Products" });
  const lines = el("ul", { className: "list cart", "aria-label": "Cart" });
  const total = el("p", { className: "price grow" });
  const order = el("button", { type: "button", className: "main", onclick: buy }, "Order");
  const done = el("ul", { className: "list", "aria-label": "Orders" });
  main.append(
    notices,
    goods,
    el("section", {}, el("h2", {}, "Cart"), lines, el("div", { className: "row" }, total, order)),
    el("section", {}, el("h2", {}, "Orders"), done),
  );

  const put = (product_id, more) =>
    db.transaction(async (tx) => {
      const found = await tx.get("cart", [buyer, product_id]);
      const quantity = (found?.quantity ?? 0) + more;
      if (found === null) await tx.create("cart", { buyer, product_id, quantity });
      else if (quantity > 0) await tx.update("cart", [buyer, product_id], { quantity });
      else await tx.delete("cart", [buyer, product_id]);
    });

  /** The order and the empty cart are one transaction: if it is refused, the cart is full again. */
  async function buy() {
    const items = cart.map(({ product_id, quantity }) => ({ product_id, quantity }));
    await db.transaction(async (tx) => {
      const order = { buyer, items, total: sum(), status: "Sent", at: new Date().toISOString() };
      await tx.create("purchase", crypto.randomUUID(), order);
      for (const { product_id } of items) await tx.delete("cart", [buyer, product_id]);
    });
    focusOn(done); // where the order is; its button has nothing to do any more
  }

  const sum = () => cart.reduce((all, { product_id, quantity }) => all + quantity * (products.get(product_id)?.price ?? 0), 0);
  const named = (items) => items.map(({ product_id, quantity }) => `${quantity} × ${products.get(product_id)?.name ?? product_id}`).join(", ");

  function draw() {
    keep(goods, [...products.values()], ({ id }) => id, ({ id, name, price }) => {
      const stock = el("p", { className: "soft" });
      const add = el("button", { type: "button", onclick: () => put(id, 1), "aria-label": `Add ${name} to the cart` }, "Add to cart");
      const element = el("li", { className: "card" }, el("div", {}, el("h3", {}, name), el("p", { className: "price" }, money(price)), stock), add);
      element.refresh = (product) => {
        stock.textContent = product.stock === 0 ? "Sold out" : `${product.stock} in stock`;
        add.disabled = product.stock === 0;
      };
      return element;
    });
    keep(lines, cart, ({ product_id }) => product_id, ({ product_id }) => {
      const text = el("span");
      const less = el("button", { type: "button", onclick: () => put(product_id, -1) }, "−");
      const element = el("li", { className: "card" }, text, less);
      element.refresh = (line) => {
        text.textContent = named([line]);
        less.setAttribute("aria-label", `One ${products.get(product_id)?.name} less`);
      };
      return element;
    });
    total.textContent = cart.length === 0 ? "Nothing in it yet." : money(sum());
    order.disabled = cart.length === 0;
    keep(done, orders, ({ id }) => id, ({ id, at }) => {
      const [text, state] = [el("p"), el("p", { className: "soft" })];
      const element = el("li", { className: "card" }, text, state);
      element.refresh = ({ items, total, status }) => {
        text.textContent = named(items);
        state.textContent = `${money(total)} · ${time(at)} · ${waiting.has(id) ? "not sent yet" : status}`;
      };
      return element;
    });
  }

  async function tell() {
    const refused = (await db.parked()).filter((change) => change.table === "purchase");
    keep(notices, refused, ({ id }) => id, ({ id, reason }) => {
      // The other changes of the transaction were refused with it.
      const drop = async () => {
        for (const change of await db.parked()) await db.discard(change.id);
        tell();
      };
      return el("div", { className: "notice" }, el("p", {}, el("strong", {}, "The order was refused. "), reason),
        el("div", {}, el("button", { type: "button", onclick: drop }, "All right")));
    });
  }

  db.table("product").orderBy("price").live((found) => {
    products = new Map(found.map((product) => [product.id, product]));
    draw();
  });
  db.table("cart").where({ buyer }).live((found) => {
    cart = found;
    draw();
  });
  db.table("purchase").where({ buyer }).orderBy("at", "descending").live((found) => {
    orders = found;
    draw();
  });
  whatWaits(db, "purchase", (keys) => {
    waiting = keys;
    draw();
  });
  db.on("rejected", tell);
  tell();
}
