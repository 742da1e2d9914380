/** Both ends together: what was sealed arrives as it was, and nothing that anybody did to it on the way is taken. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { before, test } from 'node:test';
import fc from 'fast-check';
import { runs } from '../../../verify/test/support/property.ts';
import { openChunks, sealChunks } from '../../src/sealed/chunks.ts';
import {
  AEAD_AES_256_GCM,
  DHKEM_X25519,
  HKDF_SHA256,
  type KemId,
  setupRecipient,
  setupSender,
  X_WING,
} from '../../src/sealed/hpke-context.ts';
import { sealRequest } from '../../src/sealed/ohttp-client.ts';
import { generateRecipientKey, openEnvelope, type RecipientKey } from '../../src/sealed/ohttp-gateway.ts';
import { StreamReader } from '../../src/sealed/stream-reader.ts';
import { bytesOf, inPieces, openWith, pieces } from './support.ts';

const keys = new Map<KemId, RecipientKey>();
before(async () => {
  for (const kemId of [X_WING, DHKEM_X25519] as const) keys.set(kemId, await generateRecipientKey(5, kemId));
});
const x25519 = () => keys.get(DHKEM_X25519)!;
const KiB = 1024;
const bytes = (length: number, seed = 1) => createHash('shake256', { outputLength: length }).update(`${seed}`).digest();
const post = { method: 'POST', authority: 'abaton.test', path: '/dicom-web/studies?x=1' };

test('whatever is sealed arrives: any method, path, header fields, sizes and division, both KEMs', async () => {
  const size = fc.oneof(fc.nat(200), fc.constantFrom(16_383, 16_384, 16_385), fc.nat(100_000));
  const exchange = fc.record({
    kemId: fc.constantFrom<KemId>(X_WING, DHKEM_X25519),
    method: fc.constantFrom('POST', 'PUT', 'PATCH', 'DELETE'),
    path: fc.stringMatching(/^\/[!-~]{0,60}$/),
    headers: fc.dictionary(fc.stringMatching(/^x-[a-z0-9]{1,10}$/), fc.stringMatching(/^[!-~]{0,40}$/)),
    up: fc.array(size, { maxLength: 3 }),
    down: fc.array(size, { maxLength: 3 }),
    status: fc.integer({ min: 200, max: 599 }),
    wire: fc.integer({ min: 1, max: 40_000 }),
  });
  await fc.assert(
    fc.asyncProperty(exchange, async ({ kemId, method, path, headers, up, down, status, wire }) => {
      const [sent, answer] = [up.map((length) => bytes(length, 1)), down.map((length) => bytes(length, 2))];
      const request = { method, authority: 'abaton.test:8443', path, headers, body: pieces(...sent) };
      const key = keys.get(kemId)!;
      const sealed = await sealRequest(key.config, request);
      const envelope = await openWith(key, inPieces(wire, sealed.body));
      const { body, ...head } = await envelope.readRequest();
      assert.deepEqual(head, { method, path, authority: request.authority, headers: Object.entries(headers) });
      assert.deepEqual(await bytesOf(body), Buffer.concat(sent));
      const fields: [string, string][] = [['x-answer', 'yes']];
      const wrapped = envelope.sealResponse({ status, headers: fields }, pieces(...answer));
      const response = await sealed.openResponse(inPieces(wire, wrapped));
      assert.deepEqual([response.status, response.headers], [status, fields]);
      assert.deepEqual(await bytesOf(response.body), Buffer.concat(answer));
    }),
    runs(20),
  );
});

test('streamed both ways at once: 3 MiB up are echoed, with a few chunks under way at most', async () => {
  let made = 0;
  let come = 0;
  let most = 0;
  async function* source() {
    for (; made < 48; made++) yield bytes(64 * KiB, made);
  }
  const sealed = await sealRequest(x25519().config, { ...post, body: source() });
  const envelope = await openWith(x25519(), sealed.body);
  const { body } = await envelope.readRequest();
  const response = await sealed.openResponse(envelope.sealResponse({ status: 200, headers: [] }, body));
  const hash = createHash('sha256');
  for await (const piece of response.body) {
    hash.update(piece);
    come += piece.length;
    most = Math.max(most, made - come / (64 * KiB));
  }
  const expected = createHash('sha256');
  for (let i = 0; i < 48; i++) expected.update(bytes(64 * KiB, i));
  assert.equal(hash.digest('hex'), expected.digest('hex'));
  assert.ok(most <= 3, `${most} pieces were held`);
});

/** Everything that the receiver would take for the request; throws what it refuses with. */
async function receive(key: RecipientKey, message: Uint8Array): Promise<Buffer> {
  const envelope = await openWith(key, pieces(message));
  const { body, method, path } = await envelope.readRequest();
  return Buffer.concat([Buffer.from(method + path), await bytesOf(body)]);
}
const refused = { code: /^SEALED_(INVALID|KEY_UNKNOWN)$/ };

test('a small request with any bit flipped, or cut anywhere, is refused', async () => {
  const sealed = await sealRequest(x25519().config, { ...post, body: pieces(Buffer.from('patient')) });
  const message = await bytesOf(sealed.body);
  await receive(x25519(), message);
  for (let bit = 0; bit < message.length * 8; bit++) {
    const flipped = Buffer.from(message);
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    await assert.rejects(receive(x25519(), flipped), refused, `bit ${bit}`);
  }
  for (let length = 0; length < message.length; length++)
    await assert.rejects(receive(x25519(), message.subarray(0, length)), refused, `${length} bytes`);
  await assert.rejects(receive(x25519(), Buffer.concat([message, Buffer.of(0)])), refused, 'one byte more');
});

/** Header with encapsulated key, then each chunk with its length. */
function partsOf(message: Buffer, headBytes: number): { head: Buffer; chunks: Buffer[] } {
  const chunks: Buffer[] = [];
  for (let at = headBytes; at < message.length; ) {
    const prefix = 1 << (message[at]! >> 6);
    const length = prefix === 4 ? message.readUInt32BE(at) & 0x3fffffff : message.readUInt16BE(at) & 0x3fff;
    const end = prefix === 1 ? message.length : at + prefix + length; // only the last has a length of one byte: 0
    chunks.push(message.subarray(at, end));
    at = end;
  }
  return { head: message.subarray(0, headBytes), chunks };
}

test('a long request with a chunk flipped, dropped, doubled, swapped, moved to the end or taken from another', async () => {
  for (const [kemId, headBytes] of [
    [X_WING, 7 + 1120],
    [DHKEM_X25519, 7 + 32],
  ] as const) {
    const key = keys.get(kemId)!;
    const seal = async () => {
      const sealed = await sealRequest(key.config, { ...post, body: pieces(bytes(70 * KiB)) });
      return partsOf(await bytesOf(sealed.body), headBytes);
    };
    const { head, chunks } = await seal();
    const other = await seal();
    assert.equal(chunks.length, 5);
    const last = chunks[4]!;
    await receive(key, Buffer.concat([head, ...chunks]));
    await receive(key, Buffer.concat([other.head, ...other.chunks]));
    const wrong: Record<string, Uint8Array[]> = {
      'the last dropped': chunks.slice(0, 4),
      'one dropped': chunks.toSpliced(2, 1),
      'the first dropped': chunks.slice(1),
      'one doubled': chunks.toSpliced(2, 0, chunks[2]!),
      'two swapped': chunks.with(1, chunks[2]!).with(2, chunks[1]!),
      'one of another message': chunks.with(1, other.chunks[1]!),
      'all of another message': other.chunks,
      'an earlier one made the last': [...chunks.slice(0, 3), Buffer.concat([Buffer.of(0), chunks[3]!.subarray(4)])],
      'the last made an earlier one': [...chunks.slice(0, 4), Buffer.of(0x40, last.length - 1), last.subarray(1)],
      'an empty one before the last': [...chunks.slice(0, 4), Buffer.of(0x40, 0), last],
      'the last cut': [...chunks.slice(0, 4), last.subarray(0, -1)],
      'nothing but the head': [],
    };
    for (const [what, list] of Object.entries(wrong))
      await assert.rejects(receive(key, Buffer.concat([head, ...list])), refused, what);
    const anywhere = fc.asyncProperty(fc.nat((headBytes + 70 * KiB) * 8), async (bit) => {
      const flipped = Buffer.concat([head, ...chunks]);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      await assert.rejects(receive(key, flipped), refused);
    });
    await fc.assert(anywhere, runs(20));
  }
});

test('the chunks alone, whatever they carry: none can be made the last, none left out, the end not moved', async () => {
  const { config, pair } = x25519();
  const { start, request: seal } = await setupSender(config, AEAD_AES_256_GCM);
  const { chunks } = partsOf(await bytesOf(sealChunks(pieces(bytes(100, 1), bytes(100, 2)), seal, true)), 0);
  const [one, two, last] = chunks as [Buffer, Buffer, Buffer];
  const header = { keyId: 5, kemId: DHKEM_X25519, kdfId: HKDF_SHA256, aeadId: AEAD_AES_256_GCM } as const;
  const read = async (...list: Buffer[]) => {
    const { request: open } = await setupRecipient(header, pair, start.subarray(7));
    return bytesOf(openChunks(new StreamReader(pieces(...list)), open));
  };
  assert.deepEqual(await read(one, two, last), Buffer.concat([bytes(100, 1), bytes(100, 2)]));
  const asLast = (chunk: Buffer) => Buffer.concat([Buffer.of(0), chunk.subarray(2)]);
  const asEarlier = Buffer.concat([Buffer.of(last.length - 1), last.subarray(1)]);
  for (const list of [
    [one, asLast(two)],
    [asLast(one)],
    [one, two],
    [one, last],
    [one, two, asEarlier],
    [one, two, asEarlier, last],
  ])
    await assert.rejects(read(...list), { code: 'SEALED_INVALID' });
});

test('what arrived before the damage is given out, but the body then fails and never ends', async () => {
  const sealed = await sealRequest(x25519().config, { ...post, body: pieces(bytes(70 * KiB)) });
  const message = await bytesOf(sealed.body);
  const envelope = await openWith(x25519(), pieces(message.subarray(0, 60 * KiB)));
  const { body } = await envelope.readRequest();
  let come = 0;
  await assert.rejects(
    async () => {
      for await (const piece of body) come += piece.length;
    },
    { code: 'SEALED_INVALID' },
  );
  assert.ok(come > 16 * KiB);
});

test('a response with any bit flipped, cut anywhere, or of another exchange is refused', async () => {
  const exchange = async () => {
    const sealed = await sealRequest(x25519().config, { ...post, path: '/' });
    const envelope = await openWith(x25519(), sealed.body);
    const response = envelope.sealResponse({ status: 200, headers: [['a', 'b']] }, pieces(bytes(20), bytes(30)));
    return { openResponse: sealed.openResponse, message: await bytesOf(response) };
  };
  const read = async ({ openResponse }: Awaited<ReturnType<typeof exchange>>, message: Uint8Array) =>
    bytesOf((await openResponse(pieces(message))).body);
  const { openResponse, message } = await exchange();
  const one = { openResponse, message };
  assert.equal((await read(one, message)).length, 50);
  for (let bit = 0; bit < message.length * 8; bit++) {
    const flipped = Buffer.from(message);
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    await assert.rejects(read(one, flipped), { code: 'SEALED_INVALID' }, `bit ${bit}`);
  }
  for (let length = 0; length < message.length; length++)
    await assert.rejects(read(one, message.subarray(0, length)), { code: 'SEALED_INVALID' }, `${length} bytes`);
  await assert.rejects(read(one, (await exchange()).message), { code: 'SEALED_INVALID' }, 'of another exchange');
});

test('another key, KEM or algorithm is refused by name, before anything is opened', async () => {
  const { config } = x25519();
  const message = await bytesOf((await sealRequest(config, post)).body);
  const unknown = { code: 'SEALED_KEY_UNKNOWN' };
  for (const [at, value] of [
    [0, 6], // key
    [1, 0x64], // KEM
    [4, 2], // HKDF-SHA384
    [6, 1], // AES-128-GCM
    [6, 3], // ChaCha20-Poly1305
    [6, 0xff], // export only
  ] as const)
    await assert.rejects(receive(x25519(), Buffer.from(message).fill(value, at, at + 1)), unknown, `${value} at ${at}`);
  const sameName = await generateRecipientKey(5, DHKEM_X25519);
  await assert.rejects(receive(sameName, await bytesOf((await sealRequest(config, post)).body)), {
    code: 'SEALED_INVALID',
  });
});

test('the key of a message is shown only once its first chunk has opened, and a refusal there ends it', async () => {
  const seen: string[] = [];
  const admit = (enc: Uint8Array) => void seen.push(Buffer.from(enc).toString('hex'));
  const message = await bytesOf((await sealRequest(x25519().config, post)).body);
  const bad = Buffer.from(message);
  bad[bad.length - 1]! ^= 1;
  await assert.rejects(openWith(x25519(), pieces(bad), admit), { code: 'SEALED_INVALID' });
  assert.deepEqual(seen, []);
  await openWith(x25519(), pieces(message), admit);
  assert.deepEqual(seen, [message.subarray(7, 39).toString('hex')]);
  const refusal = new Error('taken before');
  const key = { pair: x25519().pair, admit: () => assert.fail(refusal) };
  await assert.rejects(
    openEnvelope(pieces(message), () => key),
    refusal,
  );
});

test('a chunk of 64 KiB is taken, a longer one is not waited for', async () => {
  const endless = async function* (prefix: Buffer) {
    const message = await bytesOf((await sealRequest(x25519().config, post)).body);
    yield message.subarray(0, 39);
    yield prefix;
    for (;;) yield Buffer.alloc(KiB);
  };
  for (const prefix of [Buffer.of(0), Buffer.from('80010001', 'hex'), Buffer.from('80010000', 'hex')])
    await assert.rejects(openWith(x25519(), endless(prefix)), { code: 'SEALED_INVALID' });
});
