/** Whatever the size of an upload, memory stays flat: a study streams through, and nothing of it is held. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_GROWTH_BYTES, measureUploads } from './upload-memory.ts';

const MiB = 2 ** 20;
const sizes = process.env.SOAK ? [500 * MiB, 2048 * MiB] : [64 * MiB];
for (const version of [1, 2] as const)
  test(`memory stays flat over HTTP/${version}`, { timeout: 30 * 60_000 }, async (t) => {
    for (const { bytes, levelBytes, growthBytes, bytesPerSecond } of await measureUploads(version, 32 * MiB, sizes)) {
      const mib = (bytes: number) => (bytes / MiB).toFixed(0);
      t.diagnostic(
        `${mib(bytes)} MiB: level ${mib(levelBytes)}, growth ${mib(growthBytes)} MiB, ${mib(bytesPerSecond)} MiB/s`,
      );
      assert.ok(growthBytes <= MAX_GROWTH_BYTES, `grew by ${mib(growthBytes)} MiB over ${mib(levelBytes)} MiB`);
    }
  });
