/**
 * Ten thousand strangers ask for evidence at once. Evidence cannot be made ahead or handed out twice, since each names the
 * nonce and the connection of whoever asks; so their number is limited, and the server's own proofs go first.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http2 from 'node:http2';
import { join } from 'node:path';
import { test } from 'node:test';
import { readYears } from '../../packages/server/test/audit/support.ts';
import { startStack } from './stack.ts';

const REQUESTS = 10_000;
const CONNECTIONS = 20;
const PARALLEL = 50; // streams of each connection; below the limit of 100

async function get(session: http2.ClientHttp2Session, path: string): Promise<{ status: number; body: string }> {
  const stream = session.request({ ':path': path });
  const status = new Promise<number>((resolve, reject) => {
    stream.on('response', (headers) => resolve(Number(headers[':status']))).on('error', reject);
  });
  let body = '';
  for await (const chunk of stream) body += chunk;
  return { status: await status, body };
}

test(`${REQUESTS} requests for evidence`, { timeout: 120_000 }, async (t) => {
  const stack = await startStack();
  const sessions: http2.ClientHttp2Session[] = [];
  t.after(async () => {
    for (const session of sessions) session.destroy();
    await stack.close();
  });
  const server = await stack.startServer({ ABATON_ATTESTATION_INTERVAL_MS: '1000' });
  for (let i = 0; i < CONNECTIONS; i++) sessions.push(http2.connect(server.url, { rejectUnauthorized: false }));
  const health = async () => JSON.parse((await get(sessions[0]!, '/healthz')).body);
  const linesBefore = readFileSync(stack.serverLog, 'utf8').split('\n').length;

  let left = REQUESTS;
  const answers = { served: 0, limited: 0 };
  const states: string[] = [];
  const began = performance.now();
  const asker = async (session: http2.ClientHttp2Session) => {
    while (left-- > 0) {
      const nonce = randomBytes(32).toString('hex');
      const { status, body } = await get(session, `/attestation?nonce=${nonce}`);
      const answer = JSON.parse(body);
      if (status === 200) {
        assert.equal(answer.reportData.nonce, nonce);
        answers.served++;
      } else {
        assert.deepEqual([status, answer.code], [503, 'OVERLOADED']);
        answers.limited++;
      }
    }
  };
  const looking = (async () => {
    while (left > 0) states.push((await health()).status);
  })();
  await Promise.all(sessions.flatMap((session) => Array.from({ length: PARALLEL }, () => asker(session))));
  await looking;
  const seconds = (performance.now() - began) / 1000;

  assert.equal(answers.served + answers.limited, REQUESTS);
  assert.ok(answers.served > 0 && answers.limited > 0);
  assert.ok(states.length > 0 && states.every((state) => state === 'open'), `the gate stays open: ${states}`);
  assert.equal((await health()).attestation.state, 'verified');
  const lines = readFileSync(stack.serverLog, 'utf8').split('\n').slice(linesBefore);
  assert.ok(!lines.join('\n').includes('/attestation'), 'strangers leave no line');
  const vkeys = JSON.parse((await get(sessions[0]!, '/.well-known/abaton')).body).auditLogVkeys;
  for (const session of sessions) session.destroy();
  await server.stop();
  const log = (await readYears(join(stack.dataDir, 'audit'), vkeys)).map((bytes) =>
    JSON.parse(String(Buffer.from(bytes))),
  );
  assert.deepEqual([...new Set(log.map(({ action }) => action))].sort(), ['attest', 'boot', 'gate'], 'and no entry');
  console.log(`${answers.served} served, ${answers.limited} limited, ${Math.round(REQUESTS / seconds)} a second`);
});
