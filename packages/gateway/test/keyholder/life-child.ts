/**
 * `live` as a process of its own that is killed at a step:
 *
 *   node life-child.ts KEY_FILE DIR STEP
 */
import { writeSync } from 'node:fs';
import { openShares } from '../../src/keyholder/shares.ts';
import { live } from './life.ts';
import { watchSteps } from './steps.ts';

const [, , keyFile, dir, step] = process.argv;
const steps = watchSteps();
steps.before = (at) => {
  if (at === Number(step)) process.kill(process.pid, 'SIGKILL');
};
const shares = await openShares({ keyFile: keyFile!, dir: dir! });
await live(shares, (epoch, what) => writeSync(1, `${epoch} ${what}\n`));
shares.close();
