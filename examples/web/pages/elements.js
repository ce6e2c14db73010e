/** Elements, made and kept: what people wrote only ever becomes text. */

/** An element with properties (`on…` are listeners, `data-` and `aria-` attributes) and children. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Show one element for each item in this order; those that are there already stay, with their
 * focus. `make(item)` gives an element with a function `refresh(item)`. What had the focus and goes
 * gives it to its neighbour, so that nobody who works by keyboard is thrown back to the beginning. */
export function keep(container, items, keyOf, make) {
  const focused = container.contains(document.activeElement) ? document.activeElement : null;
  const place = [...container.children].findIndex((child) => child.contains(focused));
  draw(container, items, keyOf, make);
  if (focused === null || isReachable(focused)) return;
  const now = [...container.children];
  const nearest = [...now.slice(place), ...now.slice(0, place).reverse()];
  focusOn(nearest.map(firstIn).find(Boolean) ?? container);
}

const firstIn = (element) => [...(element?.querySelectorAll("button, select, input") ?? [])].find(isReachable);
const isReachable = (element) => element.isConnected && element.checkVisibility() && !element.disabled;

/** Give an element the focus, also one that people do not reach by themselves. */
export function focusOn(element) {
  if (element.tabIndex < 0) element.tabIndex = -1;
  element.focus();
}

function draw(container, items, keyOf, make) {
  container.kept ??= new Map();
  const kept = new Map();
  let before = null;
  for (const item of items) {
    const key = keyOf(item);
    const element = container.kept.get(key) ?? make(item);
    element.refresh?.(item);
    kept.set(key, element);
    const place = before === null ? container.firstChild : before.nextSibling;
    if (place !== element) container.insertBefore(element, place);
    before = element;
  }
  for (const [key, element] of container.kept) {
    // It may have gone on to another container.
    if (kept.get(key) !== element && element.parentNode === container) element.remove();
  }
  container.kept = kept;
}

/** The keys of rows of a table whose changes the hub has not covered yet, told now and later. */
export function whatWaits(db, table, tell) {
  let last = "";
  const look = async () => {
    const keys = new Set((await db.pending()).filter((c) => c.table === table).map((c) => c.key));
    const text = [...keys].join("\n");
    if (text !== last) tell(keys);
    last = text;
  };
  db.on("status", look);
  look();
}

export const time = (text) =>
  new Date(text).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
