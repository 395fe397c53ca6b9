// Changes made from the page, and how long it takes until the edge's answers have them.

import { ask } from "./reading.js";

/** How long a change is looked for before that is given up, in ms. */
const PATIENCE = 10_000;

/**
 * Sends a command to the origin and, from that moment on, reads through the edge without a pause until `isIn`
 * accepts what `read` gives. Answers the command's answer, how long that took, and how long the edge took
 * (ms; null where it has not come in ten seconds).
 */
export async function watchedCommand({ method, path, body }, read, isIn) {
  const begun = performance.now();
  const since = () => performance.now() - begun;
  let refused = false;
  const command = ask(path, {
    method,
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  }).then(
    ({ json }) => ({ answer: json, command_ms: since() }),
    (error) => {
      refused = true;
      throw error;
    },
  );
  const seen = (async () => {
    while (!refused && since() < PATIENCE) {
      if (isIn(await read())) return since();
    }
    return null;
  })();
  const [{ answer, command_ms }, edge_ms] = await Promise.all([command, seen]);
  return { answer, command_ms, edge_ms };
}
