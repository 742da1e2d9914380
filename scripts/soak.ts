/** `npm run soak`: the long counts, one after another. Takes about an hour on two cores. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** What is run, and the environment that makes it long. */
const RUNS: { name: string; files: string; env: Record<string, string> }[] = [
  {
    name: 'every bit of a quote, every byte of every sample; 1000 runs of each property',
    files: 'packages/*/test/**/*.test.ts',
    env: { SLOW: '1' },
  },
  {
    name: 'uploads of 500 MB and 2 GB over HTTP/1.1 and HTTP/2',
    files: 'packages/server/test/dicomweb/stow-memory.test.ts',
    env: { SOAK: '1' },
  },
  {
    name: 'kill -9 at 100 random moments and at each durable step',
    files: 'test/e2e/kill.test.ts',
    env: { SOAK_KILLS: '100' },
  },
  {
    name: '24 simulated hours of attestation',
    files: 'test/e2e/day.test.ts',
    env: { SOAK: '1' },
  },
];

let failed = 0;
for (const { name, files, env } of RUNS) {
  console.log(`\n== ${name}`);
  const { status } = spawnSync(process.execPath, ['--test', '--test-concurrency=1', files], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ...env },
  });
  if (status !== 0) failed++;
}
process.exit(failed === 0 ? 0 : 1);
