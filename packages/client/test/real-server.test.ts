/** The client against the real server in a software TEE: a man in the middle, and results that are not what was logged. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { createServer as createTlsServer, connect as tlsConnect } from 'node:tls';
import { type Stack, startStack } from '../../../test/e2e/stack.ts';
import { drawPhantom } from '../../server/src/imaging/phantom.ts';
import { openGuestAgent } from '../../server/src/tee/agent-client.ts';
import {
  type AnalysisResult,
  awaitAnalysis,
  connectVerified,
  digestResult,
  NotVerifiedError,
  sendFiles,
  type VerifiedConnection,
  verifyAttestation,
} from '../src/index.ts';

let stack: Stack;
let port: number;
before(async () => {
  stack = await startStack();
  port = Number(new URL((await stack.startServer()).url).port);
});
after(() => stack.close());

const newUid = () => `2.25.${BigInt(`0x${randomUUID().replaceAll('-', '')}`)}`; // PS3.5 B.2

function writePhantom(studyInstanceUid: string): string {
  const file = join(stack.dir, `${studyInstanceUid}.dcm`);
  writeFileSync(file, drawPhantom({ studyInstanceUid, ageYears: 3, now: new Date() }));
  return file;
}

/** Listens until the test ends; returns its address. */
async function listen(t: TestContext, relay: Server): Promise<string> {
  const sockets: Socket[] = [];
  relay.on('connection', (socket: Socket) => sockets.push(socket)).listen(0, '127.0.0.1');
  t.after(() => {
    relay.close();
    for (const socket of sockets) socket.destroy();
  });
  await once(relay, 'listening');
  return `https://127.0.0.1:${(relay.address() as AddressInfo).port}`;
}

function pipeBoth(one: Socket, other: Socket): void {
  for (const [socket, peer] of [
    [one, other],
    [other, one],
  ] as const)
    socket
      .on('error', () => {})
      .on('close', () => peer.destroy())
      .pipe(peer);
}

/** Types of the HTTP/2 frames (RFC 9113, 4.1 and 6) after the client's preface of 24 octets. */
function frameTypes(bytes: Buffer): number[] {
  assert.equal(bytes.toString('latin1', 0, 24), 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  const types: number[] = [];
  for (let at = 24; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3)) types.push(bytes[at + 3]!);
  return types;
}
const [DATA, HEADERS] = [0, 1];

test('a relay with a key of its own before the genuine server: CHANNEL_MISMATCH, and it sees no byte of a study', async (t) => {
  const seen: Buffer[][] = []; // of each connection
  // Its certificate is even of the same authority: the same guest agent gives every caller another key.
  const own = await openGuestAgent(stack.softTee.socket).getTlsKey({ subject: 'abaton', altNames: ['localhost'] });
  const relay = createTlsServer(
    { key: own.keyPem, cert: own.chainPem.join('\n'), ALPNProtocols: ['h2'], minVersion: 'TLSv1.3' },
    (socket) => {
      const chunks: Buffer[] = [];
      seen.push(chunks);
      socket.on('data', (chunk) => chunks.push(chunk));
      pipeBoth(socket, tlsConnect({ host: '127.0.0.1', port, ALPNProtocols: ['h2'], rejectUnauthorized: false }));
    },
  );
  const trust = { ...stack.trust(), url: await listen(t, relay) };
  const { valid, send, checks } = await verifyAttestation(trust);
  assert.deepEqual([valid, send], [false, 'nothing']);
  // all else is genuine: only the channel tells
  assert.deepEqual(
    checks.filter(({ status }) => status === 'fail').map(({ code }) => code),
    ['CHANNEL_MISMATCH'],
  );
  await assert.rejects(connectVerified(trust), (error) => {
    assert.ok(error instanceof NotVerifiedError);
    assert.match(error.message, /CHANNEL_MISMATCH/);
    return true;
  });
  assert.equal(seen.length, 2);
  for (const types of seen.map((chunks) => frameTypes(Buffer.concat(chunks)))) {
    assert.equal(types.filter((type) => type === HEADERS).length, 1, 'the question for evidence');
    assert.equal(types.filter((type) => type === DATA).length, 0);
  }
});

test('a relay that only passes ciphertext on changes nothing', async (t) => {
  const relay = createServer((socket) => pipeBoth(socket, connect(port, '127.0.0.1')));
  const { valid } = await verifyAttestation({ ...stack.trust(), url: await listen(t, relay) });
  assert.equal(valid, true);
});

test('the server reads the body of sendFiles: every instance, none twice', async () => {
  const uids = [newUid(), newUid(), newUid()];
  const connection = await connectVerified(stack.trust());
  const answer = await sendFiles(connection, uids.map(writePhantom));
  connection.close();
  assert.deepEqual(answer, { studies: uids, stored: 3, failures: [] });
});

test('a study that is still being analysed, and one that is not there', async () => {
  const connection = await connectVerified(stack.trust());
  const uid = newUid();
  await sendFiles(connection, [writePhantom(uid)]);
  await assert.rejects(awaitAnalysis(connection, uid, 0), { name: 'UnavailableError', code: 'ANALYSIS_TIMEOUT' });
  assert.equal((await awaitAnalysis(connection, uid)).state, 'complete');
  await assert.rejects(awaitAnalysis(connection, newUid()), { name: 'ConfigurationError', code: 'NOT_FOUND' });
  connection.close();
});

interface Pair {
  result: AnalysisResult;
  proof: { index: number; entry: string; checkpoint: string; hashes: string[] };
}
interface Answer {
  state: string;
  results: Pair[];
}

/** The genuine connection, but for what `change` makes of the answer. */
function tampered(connection: VerifiedConnection, change: (pair: Pair, answer: Answer) => unknown): VerifiedConnection {
  return {
    ...connection,
    async request(request) {
      const response = await connection.request(request);
      return {
        ...response,
        async json() {
          const answer = (await response.json()) as Answer;
          change(answer.results[0]!, answer);
          return answer;
        },
      };
    },
  };
}

test('what is not what the log holds is refused', async (t) => {
  const connection = await connectVerified(stack.trust());
  t.after(() => connection.close());
  const [uid, otherUid] = [newUid(), newUid()];
  await sendFiles(connection, [writePhantom(uid), writePhantom(otherUid)]);
  const { results } = await awaitAnalysis(connection, uid);
  const other = (await awaitAnalysis(connection, otherUid)).results[0]!;
  const genuine = results[0]!;
  assert.equal(genuine.result.outcome, 'scored');
  assert.ok(genuine.logSize > genuine.proof.index);

  const set = Object.assign<object, object>;
  const refused: Record<string, [code: string, (pair: Pair, answer: Answer) => unknown]> = {
    'another score': ['PROOF_INVALID', ({ result }) => set(result.finding!, { score: 0.5 })],
    'another outcome': ['PROOF_INVALID', ({ result }) => set(result, { outcome: 'out-of-scope' })],
    'another label': ['PROOF_INVALID', ({ result }) => set(result, { label: 'cleared for clinical use' })],
    'another model': ['PROOF_INVALID', ({ result }) => set(result.model!, { digest: 'ab'.repeat(32) })],
    'no model': ['PROOF_INVALID', ({ result }) => set(result, { model: null })],
    'other evidence': ['PROOF_INVALID', ({ result }) => set(result, { evidenceId: 'ab'.repeat(32) })],
    'another salt': ['PROOF_INVALID', ({ result }) => set(result, { logSalt: 'ab'.repeat(32) })],
    'a member more': ['PROOF_INVALID', ({ result }) => set(result, { cleared: true })],
    'the result of another study, with its own proof': ['PROOF_INVALID', (pair) => set(pair, other)],
    'the proof of another result': ['PROOF_INVALID', (pair) => set(pair, { proof: other.proof })],
    'an entry that is made to fit the result': [
      'INCLUSION_INVALID',
      ({ result, proof }) => {
        result.finding!.score = 0;
        const entry = JSON.parse(proof.entry);
        entry.facts.resultDigest = digestResult(result);
        proof.entry = JSON.stringify(entry);
      },
    ],
    'an entry with a space more': ['INCLUSION_INVALID', ({ proof }) => set(proof, { entry: `${proof.entry} ` })],
    'another index': ['INCLUSION_INVALID', ({ proof }) => set(proof, { index: proof.index - 1 })],
    'a proof without its last hash': ['INCLUSION_INVALID', ({ proof }) => proof.hashes.pop()],
    'a proof of zeros': ['INCLUSION_INVALID', ({ proof }) => proof.hashes.fill(Buffer.alloc(32).toString('base64'))],
    'a checkpoint of another size': [
      'CHECKPOINT_SIGNATURE_INVALID',
      ({ proof }) => set(proof, { checkpoint: proof.checkpoint.replace(/\n\d+\n/, '\n1\n') }),
    ],
    'a checkpoint without signature': [
      'CHECKPOINT_UNSIGNED',
      ({ proof }) => set(proof, { checkpoint: proof.checkpoint.replace(/— .*\n$/, '— example.org/log AAAAAAAA\n') }),
    ],
    'no checkpoint': ['CHECKPOINT_MALFORMED', ({ proof }) => set(proof, { checkpoint: '' })],
    'no proof': ['ANSWER_INVALID', (pair) => set(pair, { proof: null })],
    'no result': ['ANSWER_INVALID', (pair) => set(pair, { result: null })],
    'no results': ['ANSWER_INVALID', (_, answer) => set(answer, { results: {} })],
    'no state': ['ANSWER_INVALID', (_, answer) => set(answer, { state: 5 })],
  };
  for (const [what, [code, change]] of Object.entries(refused))
    await t.test(what, () => assert.rejects(awaitAnalysis(tampered(connection, change), uid), { code }));

  await t.test('the same log under another key', async () => {
    const elsewhere = await startStack();
    await elsewhere.startServer();
    try {
      const stranger = await connectVerified(elsewhere.trust());
      stranger.close();
      const { evidence } = stranger;
      // evidence of another machine, results of ours: the key of its log is not the one that signed
      await assert.rejects(awaitAnalysis({ ...connection, evidence }, uid), { code: 'CHECKPOINT_UNSIGNED' });
    } finally {
      await elsewhere.close();
    }
  });

  await t.test('a result of earlier code holds after an upgrade: it names the code that ran then', async () => {
    const upgraded = { ...connection, verdict: { ...connection.verdict, codeHash: `sha256:${'ab'.repeat(32)}` } };
    assert.equal((await awaitAnalysis(upgraded, uid)).results[0]!.result.id, genuine.result.id);
  });
  await t.test('untouched, it holds', async () => {
    const same = await awaitAnalysis(
      tampered(connection, () => undefined),
      uid,
    );
    assert.equal(same.results[0]!.result.id, genuine.result.id);
  });
});
