/** A house in a process of its own, so that its memory can be told from the client's: started by stow-memory.test.ts. */
import { openHouse } from './house.ts';

const SAMPLE_MS = 10;

const house = await openHouse({ maxInstanceBytes: 4 * 2 ** 30 });
let peak = 0;
const look = () => {
  peak = Math.max(peak, process.memoryUsage.rss());
};
setInterval(look, SAMPLE_MS);

process.on('message', async (message) => {
  if (message === 'close') {
    await house.close();
    process.exit();
  }
  look();
  process.send?.({ rss: process.memoryUsage.rss(), peak });
  peak = 0;
});
process.send?.({ port: house.port });
