/**
 * Child process of the kill test: keeps reports of 40 kB and writes the id of each to standard output once it is kept.
 */
import { writeSync } from 'node:fs';
import { openLedger, proofAt, START_MS } from './support.ts';

const ledger = await openLedger(process.argv[2]!);
writeSync(1, 'open\n');
for (let i = 0; i < 900; i++) {
  const proof = proofAt(START_MS + i, { codeHash: 'X'.repeat(40_000), state: 'failed' });
  await ledger.record(proof);
  writeSync(1, `${proof.id}\n`);
}
