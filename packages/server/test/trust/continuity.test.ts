/** Continuity against a count of seconds, one after the other. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { continuityOf, coveredSpans, type Proof } from '../../src/trust/continuity.ts';

const runs = { numRuns: process.env.SLOW ? 5000 : 500 };
const SECOND = 1000;
const stateOf = (verified: boolean): Proof['state'] => (verified ? 'verified' : 'failed');

/** In the order of their making; the clock may go back, and a report may be missing from the chain. */
const proofs: fc.Arbitrary<Proof[]> = fc
  .array(
    fc.record({ step: fc.integer({ min: -5, max: 30 }), verified: fc.boolean(), kept: fc.integer({ min: 0, max: 9 }) }),
    {
      maxLength: 30,
    },
  )
  .map((made) => {
    let at = 0;
    const chain = made.map(({ step, verified, kept }, i) => {
      at += step;
      return {
        kept: kept > 0,
        id: `r${i}`,
        atMs: at * SECOND,
        state: stateOf(verified),
        previous: i === 0 ? null : `r${i - 1}`,
      };
    });
    return chain.filter(({ kept }) => kept).map(({ kept: _, ...proof }) => proof);
  });

/** The definition in its plainest form: is there a proof that covers this second? */
function isCovered(all: readonly Proof[], ms: number, toMs: number, lifeMs: number): boolean {
  return all.some(({ id, atMs, state }, i) => {
    const next = all[i + 1];
    if (state !== 'verified' || (next && next.previous !== id)) return false;
    return ms >= atMs && ms < atMs + lifeMs && ms < (next ? next.atMs : toMs);
  });
}

test('the covered part is what a count of every second gives', () => {
  const window = fc.tuple(fc.integer({ min: -20, max: 50 }), fc.integer({ min: 1, max: 300 }));
  fc.assert(
    fc.property(proofs, window, fc.integer({ min: 1, max: 40 }), (all, [from, length], life) => {
      const [fromMs, toMs, lifeMs] = [from * SECOND, (from + length) * SECOND, life * SECOND];
      let covered = 0;
      for (let ms = fromMs; ms < toMs; ms += SECOND) covered += Number(isCovered(all, ms, toMs, lifeMs));
      assert.equal(continuityOf(all, { fromMs, toMs }, lifeMs), covered / length);
    }),
    runs,
  );
});

test('spans are ascending, apart, and inside the window', () => {
  fc.assert(
    fc.property(proofs, fc.integer({ min: 1, max: 40 }), (all, life) => {
      const spans = coveredSpans(all, { fromMs: 0, toMs: 100 * SECOND }, life * SECOND);
      for (const [i, { fromMs, toMs }] of spans.entries()) {
        assert.ok(fromMs >= (spans[i - 1] ? spans[i - 1]!.toMs + 1 : 0) && fromMs < toMs && toMs <= 100 * SECOND);
      }
    }),
    runs,
  );
});

const at = (second: number, verified: boolean, previous: string | null): Proof => ({
  ...{ id: `at-${second}`, atMs: second * SECOND, state: stateOf(verified), previous },
});
const window = { fromMs: 0, toMs: 100 * SECOND };

test('a failure ends what the proof before it covered, and the next proof begins anew', () => {
  const all = [at(0, true, null), at(20, false, 'at-0'), at(30, true, 'at-20')];
  assert.equal(continuityOf(all, window, 50 * SECOND), (20 + 50) / 100);
});

test('what failures cover is told apart from what proofs cover', () => {
  const all = [at(0, true, null), at(20, false, 'at-0'), at(30, true, 'at-20')];
  assert.deepEqual(coveredSpans(all, window, 50 * SECOND, 'failed'), [{ fromMs: 20 * SECOND, toMs: 30 * SECOND }]);
});

test('nothing is covered before the first, after the life of the last, and where a report was taken away', () => {
  assert.equal(continuityOf([], window, 50 * SECOND), 0);
  assert.equal(continuityOf([at(90, true, null)], window, 50 * SECOND), 10 / 100);
  assert.equal(continuityOf([at(0, true, null)], window, 50 * SECOND), 50 / 100);
  const cut = [at(0, true, null), at(30, true, 'the failure at 10')];
  assert.equal(continuityOf(cut, window, 50 * SECOND), 50 / 100);
});
