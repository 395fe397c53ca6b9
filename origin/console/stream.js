// The origin's live stream (server-sent events), and whether we hear it.

const EVENTS = ["hello", "figures", "change", "epoch", "keys", "feed"];

/** The first pause after the server has refused the stream, and the longest, in ms. */
const PAUSE = 2_000;
const LONGEST_PAUSE = 15_000;

/**
 * Hears `address` for as long as the page is open. `on` has a function for each event, which gets its data,
 * and `connected` and `disconnected`.
 *
 * EventSource comes back by itself when a connection breaks. It gives up where the server answers anything
 * but a stream (a proxy's 502, say), and then we ask again.
 */
export function listen(address, on) {
  let pause = PAUSE;
  const open = () => {
    const source = new EventSource(address);
    source.addEventListener("open", () => {
      pause = PAUSE;
      on.connected();
    });
    source.addEventListener("error", () => {
      on.disconnected();
      if (source.readyState !== EventSource.CLOSED) return;
      setTimeout(open, pause);
      pause = Math.min(pause * 2, LONGEST_PAUSE);
    });
    for (const name of EVENTS) {
      source.addEventListener(name, (event) => on[name](JSON.parse(event.data)));
    }
  };
  open();
}
