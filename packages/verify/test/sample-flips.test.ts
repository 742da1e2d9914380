/**
 * One flipped bit in the real samples of others: quote, collateral, event log, SEV-SNP report and certificates, GPU report
 * and certificates, reference measurements. SLOW=1 flips one seeded bit of every byte; otherwise a seeded sample.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { type EvidenceFiles, parsePolicy, type TdxEvent, VerifiedCache, verifyFiles } from '../src/index.ts';
import { partsOf, SAMPLES } from './support/sample-parts.ts';
import { loadFiles, skip } from './support/samples.ts';
import { meaning, outside, RANGES, random, sample, seed, sweep } from './support/sweep.ts';

const policy = parsePolicy({ version: 1 });
const judgeAt =
  (now: string, cache = new VerifiedCache()) =>
  (files: EvidenceFiles) =>
    verifyFiles(files, { policy, nowMs: Date.parse(now), cache });

for (const [name, { files, now }] of Object.entries(SAMPLES))
  test(`bytes of ${name} (seed ${seed})`, { skip }, async (t) => {
    const loaded = loadFiles(files);
    const judge = judgeAt(now);
    assert.equal((await judge(loaded)).valid, true);
    for (const [part, kind, bytes, put] of partsOf(loaded))
      await t.test(`${part}, ${bytes.length} bytes`, async () => {
        const build = (flipped: Buffer): EvidenceFiles => ({ ...loaded, ...put(flipped) });
        const accepted = await sweep(bytes, sample(bytes, 250), build, judge, { everyBit: false });
        assert.deepEqual(outside(accepted, RANGES[kind]), []);
      });
  });

interface Member {
  pattern: string;
  imr: number[];
  reason: string;
}
const { members } = JSON.parse(readFileSync(new URL('vectors/flip-ranges.json', import.meta.url), 'utf8')) as {
  members: Member[];
};

test(`characters of a real event log (seed ${seed})`, { skip }, async () => {
  const { files, now } = SAMPLES.tdx;
  const loaded = loadFiles(files);
  const judge = judgeAt(now);
  const baseline = meaning(await judge(loaded));
  const log = loaded.eventLog as TdxEvent[];
  for (const [index, event] of log.entries())
    for (const member of ['digest', 'event', 'event_payload', 'event_type', 'imr'] as const) {
      const path = `${index}.${member}`;
      const text = String(event[member]);
      const at = random(text.length);
      const flipped =
        text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ (1 << random(7))) + text.slice(at + 1);
      const value = typeof event[member] === 'number' ? Number(flipped) : flipped;
      if (text === '' || value === event[member]) continue;
      const verdict = await judge({ ...loaded, eventLog: log.with(index, { ...event, [member]: value }) });
      const listed = members.some(({ pattern, imr }) => new RegExp(pattern).test(path) && imr.includes(event.imr));
      if (meaning(verdict) === baseline) assert.ok(listed, `${path} may change unseen`);
      else assert.equal(verdict.valid, false, path);
    }
});
