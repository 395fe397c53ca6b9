// The application, in one process or in `WORKERS` that share a port.

import cluster from 'node:cluster';

import { serve } from './serve.js';
import { settings } from './settings.js';

const configuration = settings();

if (cluster.isPrimary && configuration.workers > 1) {
  lead(configuration.workers);
} else {
  // Nothing here is worth waiting for.
  process.on('SIGTERM', () => process.exit(0));
  process.on('SIGINT', () => process.exit(0));
  const url = await serve(configuration);
  if (cluster.isPrimary) {
    ready(url);
  }
}

/** Starts the workers, and ends when they have ended. (Workers whose primary is gone end by themselves.) */
function lead(workers: number): void {
  let listening = 0;
  let status = 0;
  const stop = () => {
    for (const worker of Object.values(cluster.workers ?? {})) {
      worker?.process.kill('SIGTERM');
    }
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  cluster.on('listening', (_, address) => {
    listening += 1;
    if (listening === workers) {
      ready(`http://127.0.0.1:${address.port}`);
    }
  });
  cluster.on('exit', (worker, code) => {
    if (code !== 0) {
      console.error(`worker ${worker.process.pid} has ended (${code})`);
      status = 1;
      stop();
    }
    if (Object.keys(cluster.workers ?? {}).length === 0) {
      process.exit(status);
    }
  });
  for (let worker = 0; worker < workers; worker += 1) {
    cluster.fork();
  }
}

function ready(url: string): void {
  console.log(`listening on ${url}`);
}
