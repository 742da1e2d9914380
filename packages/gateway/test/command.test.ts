/** `abaton gateway --interval`: not shorter than a second, not longer than five minutes. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type AttestedServer, startAttested } from '../../client/test/hostile-door.ts';

const command = fileURLToPath(new URL('../../cli/bin/abaton.mjs', import.meta.url));

let attested: AttestedServer;
let dir: string;
before(async () => {
  attested = await startAttested();
  dir = mkdtempSync(join(tmpdir(), 'abaton-gateway-'));
  writeFileSync(join(dir, 'policy.json'), JSON.stringify(attested.tee.policy));
});
after(async () => {
  await attested.close();
  rmSync(dir, { recursive: true });
});

/** With an address that cannot be listened on: what is said is about the interval, or else about that. */
function run(interval: string): string {
  const flags = { url: 'https://localhost', policy: join(dir, 'policy.json'), 'data-dir': join(dir, 'data'), interval };
  const args = Object.entries({ ...flags, listen: '0.0.0.0:0' }).flatMap(([name, value]) => [`--${name}`, value]);
  return spawnSync(process.execPath, [command, 'gateway', ...args], { encoding: 'utf8' }).stderr;
}

for (const interval of ['999ms', '1ms', '301s', '6m', '0s', '60'])
  test(`${interval} is none`, () => {
    assert.match(run(interval), /USAGE: --interval must be a time such as 60s, from 1s to 300s\./);
  });

for (const interval of ['1s', '1000ms', '5m'])
  test(`${interval} is one`, () => {
    assert.match(run(interval), /LISTEN_REFUSED/);
  });
