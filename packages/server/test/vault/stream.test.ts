// AES-256-GCM STREAM: the format of a blob (src/vault/stream.ts).
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type ByteRange,
  CHUNK_BYTES,
  ciphertextSize,
  HEADER_BYTES,
  openStream,
  plaintextSize,
  sealStream,
} from '../../src/vault/stream.ts';
import { collect, flipped, pieces, runs } from './support.ts';

interface Vector {
  plaintextBytes: number;
  objectKey: string;
  objectId: string;
  blobBytes: number;
  blobSha256: string;
  blob?: string;
}
const vectors: Vector[] = JSON.parse(
  readFileSync(new URL('../vectors/stream/stream-v1.json', import.meta.url), 'utf8'),
);

const SEALED_CHUNK = CHUNK_BYTES + 16;
const key = randomBytes(32);
const id = randomBytes(16);

/** As in vectors/stream/make.py. */
function pattern(length: number): Buffer {
  const blocks: Buffer[] = [];
  for (let i = 0; i <= length / 32; i++) {
    const counter = Buffer.alloc(4);
    counter.writeUInt32BE(i);
    blocks.push(createHash('sha256').update(counter).digest());
  }
  return Buffer.concat(blocks).subarray(0, length);
}

const seal = (plaintext: Uint8Array, size?: number) => collect(sealStream(key, id, pieces(plaintext, size)));
const readerOf = (blob: Uint8Array) => (range: ByteRange) =>
  pieces(blob.subarray(range.offset, range.offset + range.length), 4099);
const open = (blob: Uint8Array, plaintextBytes: number, range?: ByteRange, k = key, i = id) =>
  collect(openStream(k, i, plaintextBytes, readerOf(blob), range));
const isBroken = { code: 'SEAL_BROKEN' };

for (const v of vectors)
  test(`seals ${v.plaintextBytes} bytes to the blob that pyca/cryptography makes, and opens it`, async () => {
    const [objectKey, objectId] = [Buffer.from(v.objectKey, 'hex'), Buffer.from(v.objectId, 'hex')];
    const plaintext = pattern(v.plaintextBytes);
    const blob = await collect(sealStream(objectKey, objectId, pieces(plaintext)));
    assert.equal(blob.length, v.blobBytes);
    assert.equal(createHash('sha256').update(blob).digest('hex'), v.blobSha256);
    if (v.blob) assert.equal(blob.toString('hex'), v.blob);
    assert.ok((await open(blob, v.plaintextBytes, undefined, objectKey, objectId)).equals(plaintext));
  });

test('however the plaintext is cut, the blob is the same and opens', async () => {
  const property = fc.asyncProperty(
    fc.integer({ min: 0, max: 3 * CHUNK_BYTES }),
    fc.integer({ min: 1, max: 2 * CHUNK_BYTES }),
    async (length, cut) => {
      const plaintext = randomBytes(length);
      const blob = await seal(plaintext, cut);
      assert.ok(blob.equals(await seal(plaintext)));
      assert.ok((await open(blob, length)).equals(plaintext));
    },
  );
  await fc.assert(property, runs());
});

test('plaintextSize and ciphertextSize are exact inverses', () => {
  const around = (n: number) => [n - 1, n, n + 1];
  const sizes = [0, 1, 2, ...around(CHUNK_BYTES), ...around(2 * CHUNK_BYTES), ...around(2 ** 42)];
  for (const size of sizes) assert.equal(plaintextSize(ciphertextSize(size)), size);
  const holds = (size: number) => plaintextSize(ciphertextSize(size)) === size;
  fc.assert(
    fc.property(
      fc.maxSafeInteger().map((n) => Math.abs(n) % 2 ** 45),
      holds,
    ),
    runs(),
  );
  // The sizes that no blob has: no tag, or a last chunk that is empty and not the first.
  const impossible = [-1, 0, HEADER_BYTES, HEADER_BYTES + 15];
  for (let n = 1; n <= 16; n++) impossible.push(HEADER_BYTES + SEALED_CHUNK + n);
  for (const size of impossible) assert.throws(() => plaintextSize(size), isBroken);
});

test('a range opens to the same bytes as the whole, and reads only the chunks that it covers', async () => {
  const plaintext = randomBytes(3 * CHUNK_BYTES + 100);
  const blob = await seal(plaintext);
  const property = fc.asyncProperty(fc.nat(plaintext.length), fc.nat(plaintext.length), async (a, b) => {
    const [offset, length] = [Math.min(a, b), Math.abs(a - b)];
    let read = 0;
    const counting = (range: ByteRange) => {
      read += range.length;
      return readerOf(blob)(range);
    };
    const part = await collect(openStream(key, id, plaintext.length, counting, { offset, length }));
    assert.ok(part.equals(plaintext.subarray(offset, offset + length)));
    assert.ok(read <= length + 2 * SEALED_CHUNK + HEADER_BYTES + 1);
  });
  await fc.assert(property, runs());
  for (const range of [
    { offset: 0, length: plaintext.length + 1 },
    { offset: plaintext.length, length: 1 },
    { offset: -1, length: 1 },
    { offset: 0, length: 0.5 },
  ])
    await assert.rejects(open(blob, plaintext.length, range), { code: 'REQUEST_INVALID' });
});

test('any flipped bit breaks the seal', async () => {
  const small = await seal(randomBytes(20));
  for (let bit = 0; bit < small.length * 8; bit++) await assert.rejects(open(flipped(small, bit), 20), isBroken);
  const size = 2 * CHUNK_BYTES + 9;
  const large = await seal(randomBytes(size));
  const property = fc.asyncProperty(fc.nat(large.length * 8 - 1), (bit) =>
    assert.rejects(open(flipped(large, bit), size), isBroken),
  );
  await fc.assert(property, runs());
});

test('a changed chunk is not yielded, and those before it are', async () => {
  const plaintext = randomBytes(3 * CHUNK_BYTES);
  const blob = flipped(await seal(plaintext), (HEADER_BYTES + SEALED_CHUNK) * 8);
  const got: Uint8Array[] = [];
  await assert.rejects(async () => {
    for await (const piece of openStream(key, id, plaintext.length, readerOf(blob))) got.push(piece);
  }, isBroken);
  assert.ok(Buffer.concat(got).equals(plaintext.subarray(0, CHUNK_BYTES)));
});

test('truncated, extended, reordered, of another size, key or object: the seal is broken', async () => {
  const size = 2 * CHUNK_BYTES;
  const blob = await seal(randomBytes(size));
  const [head, first, second] = [
    blob.subarray(0, HEADER_BYTES),
    blob.subarray(HEADER_BYTES, HEADER_BYTES + SEALED_CHUNK),
    blob.subarray(HEADER_BYTES + SEALED_CHUNK),
  ];
  const cases: Record<string, [Uint8Array, number]> = {
    'one byte less': [blob.subarray(0, -1), size],
    'last chunk cut off': [Buffer.concat([head, first]), size],
    'last chunk cut off, and the size says so': [Buffer.concat([head, first]), CHUNK_BYTES],
    'one byte more': [Buffer.concat([blob, Buffer.alloc(1)]), size],
    'a chunk more': [Buffer.concat([blob, second]), size],
    'chunks swapped': [Buffer.concat([head, second, first]), size],
    'a chunk twice': [Buffer.concat([head, first, first]), size],
    'size too small': [blob, size - 1],
    'size too large': [blob, size + 1],
    'size of a shorter last chunk too large': [await seal(randomBytes(size - 9)), size - 8],
    'header missing': [blob.subarray(HEADER_BYTES), size],
    empty: [new Uint8Array(), size],
    'empty, of size 0': [new Uint8Array(), 0],
  };
  for (const [name, [bytes, claimed]] of Object.entries(cases))
    await assert.rejects(open(bytes, claimed), isBroken, name);
  await assert.rejects(open(blob, size, undefined, randomBytes(32)), isBroken);
  await assert.rejects(open(blob, size, undefined, key, randomBytes(16)), isBroken);
  await assert.rejects(open(blob, size, { offset: 5, length: 1 }, key, randomBytes(16)), isBroken);
});

test('an empty last chunk is refused when it is not the first', async () => {
  // What a careless writer would make of 65536 bytes: a full chunk that is not the last, then an empty one that is.
  const { createCipheriv, hkdfSync } = await import('node:crypto');
  const whole = await seal(randomBytes(CHUNK_BYTES + 1));
  const head = whole.subarray(0, HEADER_BYTES);
  const streamKey = Buffer.from(hkdfSync('sha256', key, head, 'abaton/stream', 32));
  const nonce = Buffer.from('000000000000000000000101', 'hex');
  const cipher = createCipheriv('aes-256-gcm', streamKey, nonce);
  const empty = Buffer.concat([cipher.final(), cipher.getAuthTag()]);
  const blob = Buffer.concat([whole.subarray(0, HEADER_BYTES + SEALED_CHUNK), empty]);
  await assert.rejects(open(blob, CHUNK_BYTES), isBroken);
});

test('a reader that stops early closes the blob', async () => {
  const blob = await seal(randomBytes(3 * CHUNK_BYTES));
  let closed = false;
  async function* reading() {
    try {
      yield* pieces(blob);
    } finally {
      closed = true;
    }
  }
  for await (const _ of openStream(key, id, 3 * CHUNK_BYTES, reading)) break;
  assert.ok(closed);
});
