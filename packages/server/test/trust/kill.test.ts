/** kill -9 while reports are written: what was kept is served and verifies, and nothing torn is (I6). */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openReport } from '../../src/trust/report.ts';
import { openLedger, scratch } from './support.ts';

const WRITER = fileURLToPath(new URL('report-writer.ts', import.meta.url));

/** Runs the writer and kills it. Returns the ids that it had acknowledged. */
async function killWriter(dir: string, afterMs: number): Promise<string[]> {
  const child = spawn(process.execPath, [WRITER, dir], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (output === '') setTimeout(() => child.kill('SIGKILL'), afterMs);
    output += text;
  });
  const [, signal] = await once(child, 'close');
  assert.equal(signal, 'SIGKILL');
  return output.split('\n').slice(1, -1);
}

test('kill -9 at random moments', async (t) => {
  const dir = await scratch(t);
  const acknowledged: string[] = [];
  const moments = Array.from({ length: process.env.SLOW ? 60 : 5 }, () => Math.ceil(Math.random() * 60));
  t.diagnostic(`moments after opening, ms: ${moments.join(' ')}`);
  for (const afterMs of moments) {
    acknowledged.push(...(await killWriter(dir, afterMs)));
    const ledger = await openLedger(dir);
    const listed = ledger.summaries().map(({ id }) => id);
    assert.deepEqual(
      listed.filter((id) => acknowledged.includes(id)),
      acknowledged,
    );
    assert.deepEqual((await readdir(join(dir, 'reports'))).sort(), [...listed].sort(), 'nothing half-written is left');
    for (const [i, id] of listed.entries()) {
      const report = openReport((await ledger.find(id))!, [ledger.vkey]);
      assert.deepEqual([report.id, report.previous], [id, listed[i - 1] ?? null]);
    }
  }
  t.diagnostic(`${acknowledged.length} reports were acknowledged before a kill`);
  assert.ok(acknowledged.length > 0);
});
