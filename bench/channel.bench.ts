/**
 * What trust costs on the way: a first request over a connection that is verified before it, against a first request over
 * plain TLS 1.3 with the same server, in turns in the same run (`ratio`). `keepAliveRatio`: the next request over each;
 * `sealedRatio`: one sealed to the key of the evidence (HPKE with X-Wing), against the next request over plain TLS. The
 * quote is made by a software TEE: a quoting enclave takes longer.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { connectVerified } from '@abaton/client';
import { connectSealed } from '@abaton/client/browser';
import { type Channel, openChannel } from '../packages/client/src/channel.ts';
import { startStack } from '../test/e2e/stack.ts';
import type { Figures } from './main.ts';
import { mean, quantile, takeTurns } from './statistics.ts';

const ROUNDS = 100;
const PAUSE_MS = 100; // the server makes ten quotes a second for strangers of one address

export async function run(): Promise<Figures> {
  const stack = await startStack();
  try {
    await stack.startServer();
    const trust = stack.trust();
    const kept = await connectVerified(trust);
    const plain = await openChannel(trust.url);
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'; // fetch knows no key to expect; what is sealed needs none
    const sealed = await connectSealed(trust);
    const times = await takeTurns(ROUNDS, [
      () => once(() => connectVerified(trust)),
      () => once(() => openChannel(trust.url)),
      () => ask(kept),
      () => ask(plain),
      () => ask(sealed),
      () => sleep(PAUSE_MS),
    ]);
    kept.close();
    plain.close();
    const [firstMs = 0, plainFirstMs = 0, keepAliveMs = 0, plainKeepAliveMs = 0, sealedMs = 0] = times.map((each) =>
      quantile(each, 0.5),
    );
    return {
      ratio: firstMs / plainFirstMs,
      keepAliveRatio: keepAliveMs / plainKeepAliveMs,
      sealedRatio: sealedMs / plainKeepAliveMs,
      p50Ms: firstMs,
      p99Ms: quantile(times[0]!, 0.99),
      perSecond: 1000 / mean(times[0]!),
      plainFirstMs,
      keepAliveMs,
      plainKeepAliveMs,
      sealedMs,
      keyExchange: kept.keyExchange ?? 'unknown',
    };
  } finally {
    await stack.close();
  }
}

type Asked = Pick<Channel, 'request' | 'close'>;

async function once(connect: () => Promise<Asked>): Promise<void> {
  const channel = await connect();
  await ask(channel);
  channel.close();
}

/** A small public answer, the same for all. */
async function ask({ request }: Asked): Promise<void> {
  const { status, bytes } = await request({ method: 'GET', path: '/.well-known/abaton' });
  await bytes();
  if (status !== 200) throw new Error(`status ${status}`);
}
