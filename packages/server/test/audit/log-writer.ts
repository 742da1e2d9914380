/**
 * Child process of the kill tests: appends from 8 callers and writes `<index> <n>` to standard output once an entry is
 * acknowledged. Arguments: directory, first n, kill point or ''.
 */
import { writeSync } from 'node:fs';
import { openTileLog } from '../../src/audit/tile-log.ts';
import { setKillPoint } from '../../src/durable-step.ts';
import { entryOf, ORIGIN, signersOf } from './support.ts';

const [dir = '', first = '0', killPoint = ''] = process.argv.slice(2);
setKillPoint(killPoint || null);
const log = await openTileLog({ dir, origin: ORIGIN, signers: signersOf(), segmentBytes: 16_384 });
writeSync(1, 'open\n');
let n = Number(first);
await Promise.all(
  Array.from({ length: 8 }, async () => {
    while (n < Number(first) + 20_000) {
      const mine = n++;
      const { index } = await log.append(entryOf(mine, 200));
      writeSync(1, `${index} ${mine}\n`);
    }
  }),
);
