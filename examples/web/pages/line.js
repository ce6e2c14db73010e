/** The device's line to the hub, which a switch takes away: for a demo on one machine. */

export class Line {
  isOn = true;
  #cut = new AbortController();

  /** What `connect` is given instead of the browser's `fetch`. */
  fetch = (url, init = {}) => {
    if (!this.isOn) return Promise.reject(new TypeError("This device is switched offline."));
    const signals = [this.#cut.signal, ...(init.signal ? [init.signal] : [])];
    return fetch(url, { ...init, signal: AbortSignal.any(signals) });
  };

  /** Cut what is under way, or let things through again; both are told as a browser tells them. */
  switch(isOn) {
    this.isOn = isOn;
    if (isOn) this.#cut = new AbortController();
    else this.#cut.abort();
    dispatchEvent(new Event(isOn ? "online" : "offline"));
  }
}
