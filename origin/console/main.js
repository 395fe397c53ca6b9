// The console: hears the origin's live stream and tells each part of the page.

import { Charts } from "./charts.js";
import { Demo } from "./demo/demo.js";
import { byId, setText } from "./element.js";
import { Feed } from "./feed.js";
import { History } from "./history.js";
import { Numbers } from "./numbers.js";
import { listen } from "./stream.js";
import { Tables } from "./tables.js";
import { judge, shortestPromise, show } from "./verdict.js";

const known = { hello: null, figures: null, heard: 0, feedUp: true, disconnected: null };
const history = new History();
const charts = new Charts(history);
const numbers = new Numbers();
const tables = new Tables();
const feed = new Feed();
const demo = new Demo();

const verdict = () => show(judge({ ...known, now: Date.now() }));

listen("stream", {
  connected() {
    known.disconnected = null;
    known.heard = Date.now();
    verdict();
  },
  disconnected() {
    known.disconnected ??= Date.now();
    verdict();
  },
  hello(hello) {
    known.hello = hello;
    setText(byId("about"), `${hello.version}, catalog ${hello.catalog.slice(0, 8)}`);
    for (const id of ["window", "window-foot"]) setText(byId(id), String(hello.window_s));
    tables.greet(hello);
    demo.greet(hello.demo);
  },
  figures(figures) {
    known.figures = figures;
    known.heard = Date.now();
    const promise = known.hello === null ? null : shortestPromise(known.hello);
    history.add(figures);
    numbers.update(figures, promise);
    tables.update(figures);
    charts.update(figures, promise);
    verdict();
  },
  change(change) {
    history.addChange(change.at);
    feed.change(change);
  },
  epoch(epoch) {
    history.addChange(epoch.at);
    feed.epoch(epoch);
  },
  keys(keys) {
    feed.keys(keys);
  },
  feed(state) {
    // Each stream begins by telling it.
    if (state.up === known.feedUp) return;
    known.feedUp = state.up;
    feed.feed(state);
    verdict();
  },
});

// Silence has to be noticed as well.
setInterval(verdict, 1_000);
