/** The console begins. */

import { render } from "preact";
import { keepLinksHere } from "./address.js";
import { App } from "./app.js";

keepLinksHere();
const place = document.getElementById("app")!;
place.replaceChildren();
render(<App />, place);
