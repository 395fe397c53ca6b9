// The application, in one process or in `WORKERS` that share a port.

import cluster from 'node:cluster';

import { serve } from './serve.js';
import { settings } from './settings.js';

const configuration = settings();

// Nothing here is worth waiting for. (The workers of a primary that is gone end by themselves.)
process.on('SIGTERM', () => process.exit(0));
process.on('SIGINT', () => process.exit(0));

if (cluster.isPrimary && configuration.workers > 1) {
  let listening = 0;
  cluster.on('listening', (_, address) => {
    listening += 1;
    if (listening === configuration.workers) {
      ready(`http://127.0.0.1:${address.port}`);
    }
  });
  cluster.on('exit', (worker, code) => {
    console.error(`worker ${worker.process.pid} has ended (${code})`);
    process.exit(1);
  });
  for (let worker = 0; worker < configuration.workers; worker += 1) {
    cluster.fork();
  }
} else {
  const url = await serve(configuration);
  if (cluster.isPrimary) {
    ready(url);
  }
}

function ready(url: string): void {
  console.log(`listening on ${url}`);
}
