/** kill -9 at each named step and at random moments: nothing acknowledged is lost, and the log still proves itself (I6). */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { verifyCheckpoint, verifyConsistency, verifyLogProof } from '@abaton/verify';
import { DURABLE_STEPS } from '../../src/durable-step.ts';
import { entryOf, openLog, readDirectory, scratch } from './support.ts';

const WRITER = fileURLToPath(new URL('log-writer.ts', import.meta.url));

/** Runs the writer until it dies. Returns what it had acknowledged: index → number of the entry. */
function runWriter(dir: string, first: number, killPoint: string, killAfterMs?: number): Promise<Map<number, number>> {
  const child = spawn(process.execPath, [WRITER, dir, String(first), killPoint], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (output === '' && killAfterMs !== undefined) setTimeout(() => child.kill('SIGKILL'), killAfterMs);
    output += text;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (_code, signal) => {
      if (signal !== 'SIGKILL') return reject(new Error(`the writer was not killed at '${killPoint}'`));
      const lines = output.split('\n').slice(1, -1);
      resolve(new Map(lines.map((line) => line.split(' ').map(Number) as [number, number])));
    });
  });
}

/** Kills the writer of one directory again and again, and looks at the log after each. */
async function killAgainAndAgain(dir: string, kills: readonly { point: string; afterMs?: number }[]): Promise<number> {
  const acknowledged = new Map<number, number>();
  let before: { size: number; root: Uint8Array } | null = null;
  for (const [round, { point, afterMs }] of kills.entries()) {
    for (const [index, n] of await runWriter(dir, round * 100_000, point, afterMs)) acknowledged.set(index, n);
    const onDisk = await readFile(`${dir}/checkpoint`, 'utf8').catch(() => null);
    const log = await openLog(dir);
    // What the killed process had signed and published is a prefix of what the next one makes of it.
    const heads = [before, onDisk === null ? null : verifyCheckpoint(onDisk, log.vkeys())];
    before = verifyCheckpoint(log.checkpoint(), log.vkeys());
    for (const head of heads) {
      if (head === null) continue;
      const { hashes } = await log.consistencyProof(head.size);
      verifyConsistency(
        head.size,
        before.size,
        head.root,
        before.root,
        hashes.map((h) => Buffer.from(h, 'base64')),
      );
    }
    for (const index of [...acknowledged.keys()].slice(-3)) verifyLogProof(await log.proof(index), log.vkeys());
    await log.close();
    const entries = await readDirectory(dir, log.vkeys());
    for (const [index, n] of acknowledged) assert.ok(entryOf(n, 200).equals(entries[index]!), `entry ${index}`);
  }
  return acknowledged.size;
}

test('kill -9 at every named step of a commit and of a rotation', async (t) => {
  const steps = DURABLE_STEPS.filter((step) => step.startsWith('audit-'));
  assert.equal(steps.length, 9);
  const passes = process.env.SLOW ? [1, 2, 3, 5, 8] : [2];
  const kills = passes.flatMap((pass) => steps.map((step) => ({ point: `${step}:${pass}` })));
  const acknowledged = await killAgainAndAgain(await scratch(t), kills);
  assert.ok(acknowledged > 500, `only ${acknowledged} acknowledged`);
});

test('kill -9 at random moments', async (t) => {
  const moments = Array.from({ length: process.env.SLOW ? 100 : 4 }, () => Math.ceil(Math.random() * 120));
  t.diagnostic(`moments after opening, ms: ${moments.join(' ')}`);
  const acknowledged = await killAgainAndAgain(
    await scratch(t),
    moments.map((afterMs) => ({ point: '', afterMs })),
  );
  t.diagnostic(`${acknowledged} entries were acknowledged before a kill`);
  assert.ok(acknowledged > 0);
});
