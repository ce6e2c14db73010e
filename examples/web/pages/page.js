/** What is around the devices: the way to the other demos, and a frame for each device. */

const DEMOS = {
  board: ["./", "Two devices"],
  chat: ["chat.html", "Chat"],
  notifications: ["notifications.html", "Notifications"],
  chart: ["chart.html", "Live chart"],
  shop: ["shop.html", "Shop"],
};

const { demo, people } = document.body.dataset;
const nav = document.querySelector("nav");
for (const [name, [href, text]] of Object.entries(DEMOS)) {
  const link = Object.assign(document.createElement("a"), { href, textContent: text });
  if (name === demo) link.setAttribute("aria-current", "page");
  nav.append(link);
}
for (const name of people.split(" ")) {
  const frame = document.createElement("iframe");
  frame.title = `${name}'s device`;
  frame.name = name;
  frame.src = `device.html?${new URLSearchParams({ demo, name })}`;
  document.querySelector(".devices").append(frame);
}
