/** A sealed house in a process of its own, so that its memory can be told from the client's: started by the memory test. */
import { openSealedHouse } from './sealed-house.ts';

const SAMPLE_MS = 10;

const house = await openSealedHouse((app) => {
  app.post('/echo', (c) => new Response(c.req.raw.body));
});
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
  process.send?.({ peak });
  peak = 0;
});
process.send?.({ port: house.port, keys: await house.keys.hpkePublicKey() });
