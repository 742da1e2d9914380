/** Sealed files on a real disk, with a key of the software TEE. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type SoftTee, startSoftTee } from '@abaton/soft-tee';
import fc from 'fast-check';
import { openGuestAgent } from '../../src/tee/agent-client.ts';
import { deriveSealedFileKey } from '../../src/tee/sealed-file-key.ts';
import { openSealedFile, sealFile } from '../../src/vault/sealed-file.ts';
import { CHUNK_BYTES, ciphertextSize } from '../../src/vault/stream.ts';

const HEADER_BYTES = 90; // the table in sealed-file.ts
const BROKEN = { name: 'RejectedError', code: 'SEAL_BROKEN' };
const dir = mkdtempSync(join(tmpdir(), 'abaton-sealed-file-'));
const path = join(dir, 'weights.onnx');
let tee: SoftTee;
let key: Uint8Array;

before(async () => {
  tee = await startSoftTee({ state: join(dir, 'tee'), socket: join(dir, 'a.sock'), compose: '{"name":"x"}' });
  key = await deriveSealedFileKey(openGuestAgent(tee.socket), 'model-weights');
});
beforeEach(() => rmSync(path, { force: true }));
after(async () => {
  await tee.close();
  rmSync(dir, { recursive: true });
});

const read = async (file = path, by = key): Promise<Buffer> =>
  Buffer.concat(await Array.fromAsync(openSealedFile(file, by)));
const temporaries = () => readdirSync(dir).filter((name) => name.endsWith('.tmp'));

test('the key is that of the purpose, after a restart too, and no other path of the app', async () => {
  const agent = openGuestAgent(tee.socket);
  assert.deepEqual(await deriveSealedFileKey(agent, 'model-weights'), key);
  assert.deepEqual(await agent.getKey('abaton/v1/sealed-file/model-weights'), key);
  assert.notDeepEqual(await deriveSealedFileKey(agent, 'other'), key);
  for (const purpose of ['', '../vault', 'a/b', 'A', 'é', '-a', 'x'.repeat(65)])
    await assert.rejects(deriveSealedFileKey(agent, purpose), { code: 'SETTING_INVALID' }, purpose);
});

test('what was sealed comes back, whatever its size and however it was cut; nothing of it is on the disk', async () => {
  for (const size of [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 700_000]) {
    const plaintext = randomBytes(size);
    async function* cut() {
      for (let at = 0; at < size; at += 10_007) yield plaintext.subarray(at, at + 10_007);
    }
    for (const given of [plaintext, cut()]) {
      await sealFile(path, given, key);
      assert.ok((await read()).equals(plaintext), `${size}`);
      const file = readFileSync(path);
      assert.equal(file.length, HEADER_BYTES + ciphertextSize(size));
      assert.ok(size < 16 || !file.includes(plaintext.subarray(0, 16)));
    }
  }
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(readFileSync(path).toString('latin1', 0, 5), 'ABTF\x01');
});

test('the same plaintext is sealed differently each time', async () => {
  await sealFile(path, new Uint8Array(100), key);
  const once = readFileSync(path);
  await sealFile(path, new Uint8Array(100), key);
  assert.ok(!readFileSync(path).subarray(5).equals(once.subarray(5)));
});

test('another key, another name, another file', async () => {
  await sealFile(path, Buffer.from('x'), key);
  await assert.rejects(read(path, randomBytes(32)), BROKEN);
  await assert.rejects(read(path, await deriveSealedFileKey(openGuestAgent(tee.socket), 'other')), BROKEN);
  await assert.rejects(read(path, randomBytes(31)), { code: 'SETTING_INVALID' });
  const other = join(dir, 'other.onnx');
  copyFileSync(path, other);
  await assert.rejects(read(other), BROKEN);
  const elsewhere = join(mkdtempSync(join(dir, 'd-')), 'weights.onnx'); // a mount of another place is no other file
  copyFileSync(path, elsewhere);
  assert.equal((await read(elsewhere)).toString(), 'x');
  writeFileSync(path, 'plain text, no header');
  await assert.rejects(read(), BROKEN);
});

test('every bit counts, and every length but one is refused before the first byte', async () => {
  const plaintext = randomBytes(2 * CHUNK_BYTES + 100);
  await sealFile(path, plaintext, key);
  const sealed = readFileSync(path);
  const run = async (bytes: Buffer) => {
    writeFileSync(path, bytes);
    const seen: Uint8Array[] = [];
    try {
      for await (const piece of openSealedFile(path, key)) seen.push(piece);
    } catch (error) {
      assert.equal((error as { code: string }).code, 'SEAL_BROKEN');
      return Buffer.concat(seen);
    }
    throw new Error('opened');
  };
  const flip = fc.integer({ min: 0, max: sealed.length * 8 - 1 });
  const header = Array.from({ length: HEADER_BYTES * 8 }, (_, bit) => bit);
  for (const bit of [...header, ...fc.sample(flip, process.env.SLOW === '1' ? 1000 : 50)]) {
    const changed = Buffer.from(sealed);
    changed[bit >> 3]! ^= 1 << (bit & 7);
    const seen = await run(changed);
    assert.ok(plaintext.subarray(0, seen.length).equals(seen), `bit ${bit}`);
    if (bit < HEADER_BYTES * 8) assert.equal(seen.length, 0, `bit ${bit}`);
  }
  const chunk = CHUNK_BYTES + 16;
  for (const length of [0, 4, 5, 89, 90, 111, 111 + chunk, 111 + 2 * chunk, sealed.length - 1])
    assert.equal((await run(sealed.subarray(0, length))).length, 0, `${length} bytes`);
  for (const more of [Buffer.alloc(1), Buffer.alloc(chunk), sealed])
    assert.equal((await run(Buffer.concat([sealed, more]))).length, 0);
  const swapped = Buffer.concat([
    sealed.subarray(0, 111),
    sealed.subarray(111 + chunk, 111 + 2 * chunk),
    sealed.subarray(111, 111 + chunk),
    sealed.subarray(111 + 2 * chunk),
  ]);
  assert.equal((await run(swapped)).length, 0);
});

test('replaced whole or not at all: an error leaves the old file, and no temporary one', async () => {
  await sealFile(path, Buffer.from('old'), key);
  async function* failing() {
    yield Buffer.alloc(200_000);
    assert.equal(temporaries().length, 1);
    assert.equal((await read()).toString(), 'old');
    throw new Error('the source ended');
  }
  await assert.rejects(sealFile(path, failing(), key), /the source ended/);
  assert.equal((await read()).toString(), 'old');
  assert.deepEqual(temporaries(), []);
  await sealFile(path, Buffer.from('new'), key);
  assert.equal((await read()).toString(), 'new');
});

test('a process that is killed while it writes leaves the old file, and nothing in clear', async () => {
  await sealFile(path, Buffer.from('old'), key);
  const code = `
    const { sealFile } = await import(${JSON.stringify(new URL('../../src/vault/sealed-file.ts', import.meta.url).href)});
    async function* endless() {
      yield Buffer.alloc(300_000, 'in clear');
      process.stdout.write('half');
      await new Promise((resolve) => setTimeout(resolve, 1e6));
    }
    await sealFile(process.argv[1], endless(), Buffer.from(process.argv[2], 'hex'));`;
  const args = ['--input-type=module', '-e', code, path, Buffer.from(key).toString('hex')];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'close');
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await ended;
  assert.equal((await read()).toString(), 'old');
  const [left, ...more] = temporaries();
  assert.deepEqual(more, []);
  assert.ok(!readFileSync(join(dir, left!)).includes('in clear'));
  await assert.rejects(read(join(dir, left!)), BROKEN);
  await sealFile(path, Buffer.from('new'), key);
  assert.equal((await read()).toString(), 'new');
  rmSync(join(dir, left!));
});

test('what the disk cannot do is STORE_UNAVAILABLE, without the path', async () => {
  const unavailable = { name: 'UnavailableError', code: 'STORE_UNAVAILABLE', message: /^[^/]*$/ };
  await assert.rejects(read(join(dir, 'none')), unavailable);
  await assert.rejects(read(dir), unavailable);
  await assert.rejects(sealFile(join(dir, 'none', 'x'), Buffer.alloc(1), key), unavailable);
  await assert.rejects(sealFile(join(dir, 'tee'), Buffer.alloc(1), key), unavailable); // a directory
  assert.deepEqual(temporaries(), []);
  const link = join(dir, 'link.onnx');
  await sealFile(path, Buffer.from('kept'), key);
  symlinkSync(path, link);
  await sealFile(link, Buffer.from('x'), key); // replaces the link, writes through none
  assert.equal((await read()).toString(), 'kept');
});

test('memory does not grow with the file', async () => {
  setFlagsFromString('--expose-gc');
  const gc: () => void = runInNewContext('gc');
  const MiB = 2 ** 20;
  const FILE_MIB = 96;
  let most = 0;
  const look = async (mib: number) => {
    if (mib % 16) return;
    gc();
    await new Promise((resolve) => setImmediate(resolve)); // buffers are given back beside the collection
    gc();
    most = Math.max(most, process.memoryUsage().arrayBuffers);
  };
  const piece = Buffer.alloc(MiB, 7);
  async function* large() {
    for (let i = 1; i <= FILE_MIB; i++) {
      yield piece;
      await look(i);
    }
  }
  await sealFile(path, large(), key);
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const part of openSealedFile(path, key)) {
    hash.update(part);
    bytes += part.length;
    assert.ok(part.length <= CHUNK_BYTES);
    await look(bytes / MiB);
  }
  const expected = createHash('sha256');
  for (let i = 0; i < FILE_MIB; i++) expected.update(piece);
  assert.equal(hash.digest('hex'), expected.digest('hex'));
  assert.ok(most < (FILE_MIB / 2) * MiB, `${Math.round(most / MiB)} MiB of buffers`);
});
