/** Three epochs, two of them destroyed: what the tests interrupt at every step. Each word is said when it is durable. */
import type { Shares } from '../../src/keyholder/shares.ts';
import { SUBJECT, shareOf } from './support.ts';

/** `say('1', hex)`: given out. `say('1', 'destroyed')`. May be called again at any moment. */
export async function live(shares: Shares, say: (epoch: number, what: string) => void): Promise<void> {
  const give = async (epoch: number) => {
    if (shares.states()[epoch - 1]?.state !== 'destroyed') say(epoch, await shareOf(shares, epoch));
  };
  const destroy = async (epoch: number) => {
    await shares.destroy(SUBJECT, epoch);
    say(epoch, 'destroyed');
  };
  await give(1);
  await give(2);
  await destroy(1);
  await give(3);
  await destroy(2);
}
