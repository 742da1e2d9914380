/**
 * A witness as a process of its own, to be killed: takes one request on standard input, says when it is stored, and never
 * answers.
 *
 *   node witness-child.ts DIR
 */
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { createLogger } from '../../src/log.ts';
import { readWitnessKey } from '../../src/witness/key-file.ts';
import { trustLogs } from '../../src/witness/trusted-logs.ts';
import { openWitness } from '../../src/witness/witness.ts';
import { watchDisk } from '../disk.ts';
import { signersOf } from './support.ts';

const dir = process.argv[2]!;
const logs = trustLogs(signersOf().map(({ vkey }) => vkey));
const witness = await openWitness({
  ...{ signers: await readWitnessKey(join(dir, 'key')), dir: join(dir, 'state'), isNew: false, logs: () => logs },
  logger: createLogger(() => {}),
});
const disk = watchDisk();
const { push } = disk.done;
disk.done.push = (...operations) => {
  if (!operations.includes('sync heads')) return push.apply(disk.done, operations);
  process.stdout.write('stored\n');
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); // until it is killed
};
await witness.addCheckpoint(await text(process.stdin));
