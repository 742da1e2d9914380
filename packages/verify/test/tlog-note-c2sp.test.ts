/** C2SP signed notes, checkpoints and tile paths against vectors of golang.org/x/mod/sumdb and the specifications. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ed25519 } from '@noble/curves/ed25519.js';
import fc from 'fast-check';
import {
  AbatonError,
  ED25519_TYPE,
  formatCheckpoint,
  formatSignatureLine,
  formatVkey,
  leafHash,
  nodeHash,
  parseBundle,
  parseCheckpoint,
  parseNote,
  parseTilePath,
  parseVkey,
  tilePath,
  tileWidth,
  verifyCheckpoint,
  verifyLogProof,
  verifyNote,
} from '../src/index.ts';

const data = process.env.ABATON_TEST_DATA ?? fileURLToPath(new URL('../../../../shared/data', import.meta.url));
const skip = existsSync(`${data}/tlog`) ? false : 'needs ABATON_TEST_DATA';
const read = (path: string) => JSON.parse(readFileSync(`${data}/tlog/${path}`, 'utf8'));
const runs = { numRuns: process.env.SLOW ? 1000 : 10 };

const seed = new Uint8Array(32).fill(7);
const ORIGIN = 'log.example/audit/2026';
const VKEY = formatVkey(ORIGIN, ED25519_TYPE, ed25519.getPublicKey(seed));
const sign = (text: string, name = ORIGIN, key = seed) => `${text}\n${signatureLine(text, name, key)}`;
const signatureLine = (text: string, name = ORIGIN, key = seed) =>
  formatSignatureLine(
    parseVkey(formatVkey(name, ED25519_TYPE, ed25519.getPublicKey(key))),
    ed25519.sign(Buffer.from(text), key),
  );

test('golang note: every case of Open, with our code for each refusal', { skip }, () => {
  const vectors = read('golang-mod/note-vectors.json');
  const codes: Record<string, string> = {
    'malformed note': 'CHECKPOINT_MALFORMED',
    'note has no verifiable signatures': 'CHECKPOINT_UNSIGNED',
    'ambiguous key EnochRoot+af0cfe78': 'VKEY_INVALID',
    'invalid signature for key PeterNeumann+c74f20a3': 'CHECKPOINT_SIGNATURE_INVALID',
  };
  let run = 0;
  for (const v of vectors.open) {
    // A look-up that answers with a key it was not asked for cannot be written here: we match name and id ourselves.
    if (v.verifiers.some((name: string) => vectors.verifier_keys[name] === undefined)) continue;
    const peterLine = vectors.open[0].note.split('\n').find((l: string) => l.startsWith('— PeterNeumann'));
    const note =
      v.note ??
      (v.note_base64
        ? Buffer.from(v.note_base64, 'base64').toString('latin1').replace('\xff', '\ud800')
        : `${vectors.open[0].text}\n${`${peterLine}\n`.repeat(101)}`);
    const open = () =>
      verifyNote(
        note,
        v.verifiers.map((name: string) => parseVkey(vectors.verifier_keys[name])),
      );
    run++;
    if (v.expect === 'error') {
      assert.throws(open, { code: codes[v.error] ?? assert.fail(v.error) }, v.name);
      continue;
    }
    const { text, signedBy } = open();
    assert.equal(text, v.text, v.name);
    assert.deepEqual(
      signedBy.map((key) => key.name),
      v.verified,
      v.name,
    );
  }
  assert.equal(run, vectors.open.length - 2);
});

test('golang note: signing gives the same bytes, and what must not be a verifier key is none', { skip }, () => {
  const vectors = read('golang-mod/note-vectors.json');
  const zero = new Uint8Array(32);
  const { text, existing, want } = vectors.sign[1];
  assert.equal(`${text}\n${existing}${signatureLine(text, 'EnochRoot', zero)}`, want);
  assert.equal(formatVkey('EnochRoot', ED25519_TYPE, ed25519.getPublicKey(zero)), vectors.verifier_keys.enoch);
  for (const { vkey, expect, why } of vectors.verifier_key_cases) {
    if (expect === 'ok') parseVkey(vkey);
    else assert.throws(() => parseVkey(vkey), { code: 'VKEY_INVALID' }, why);
  }
  const key: string = vectors.verifier_keys.peter;
  for (let from = 0; from < key.length; from++)
    for (let to = from; to <= key.length; to++)
      if (to - from < key.length) assert.throws(() => parseVkey(key.slice(from, to)), { code: 'VKEY_INVALID' });
  for (let at = 0; at < key.length; at++) {
    const next = key.slice(0, at) + String.fromCharCode(key.charCodeAt(at) + 1) + key.slice(at + 1);
    assert.throws(() => parseVkey(next), { code: 'VKEY_INVALID' });
  }
});

test('C2SP examples: signed-note, checkpoint, tile paths', () => {
  const note =
    'This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n';
  const vkey = parseVkey('example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k');
  assert.equal(verifyNote(note, [vkey]).text, 'This is an example message.\n');
  const { signatures } = parseNote(
    'example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n',
  );
  assert.deepEqual(
    signatures.map((s) => [s.name, s.id]),
    [
      ['example.com/behind-the-sofa', '033de0ae'],
      ['witness.example.com/w1', '8d66cf3f'],
    ],
  );
  assert.equal(tilePath({ level: 0, n: 1234067, width: 256 }), 'tile/0/x001/x234/067');
  assert.equal(tilePath({ level: 'entries', n: 0, width: 5 }), 'tile/entries/000.p/5');
  assert.equal(tilePath({ level: 63, n: 1000, width: 256 }), 'tile/63/x001/000');
  assert.deepEqual(
    [tileWidth(0, 273, 70_000), tileWidth(1, 1, 70_000), tileWidth(2, 0, 70_000), tileWidth(3, 0, 70_000)],
    [112, 17, 1, 0],
  );
});

test('golang tlog: tile paths (its height component dropped) and tree notes', { skip }, () => {
  const vectors = read('golang-mod/tlog-vectors.json');
  for (const v of vectors.tile_paths) {
    const address = parseTilePath(v.path.replace(/^tile\/\d+\//, 'tile/').replace('/data/', '/entries/'));
    if (v.expect === 'error') assert.equal(address, null, v.path);
    else {
      assert.equal(address?.level, v.level === -1 ? 'entries' : v.level);
      assert.equal(address?.n, v.n);
      if (v.path.includes('.p/')) assert.equal(address?.width, v.width);
    }
  }
  const { format, bad } = vectors.tree_note;
  const tree = parseCheckpoint(format.text);
  assert.equal(tree.size, format.size);
  assert.deepEqual(tree.root, leafHash(Buffer.from(format.leaf_data)));
  assert.equal(parseCheckpoint(`${format.text}more\nlines\n`).extensions.length, 2);
  const key = formatVkey('go.sum', ED25519_TYPE, ed25519.getPublicKey(seed));
  assert.equal(verifyCheckpoint(sign(format.text, 'go.sum'), [key], 'go.sum database tree').size, format.size);
  for (const text of bad)
    assert.throws(
      () => verifyCheckpoint(sign(text, 'go.sum'), [key], 'go.sum database tree'),
      (e) => e instanceof AbatonError && /CHECKPOINT_(MALFORMED|UNSIGNED)/.test(e.code),
    );
});

test('one spelling for each tile; other paths are none', () => {
  for (const path of [
    'tile/0/0',
    'tile/00/000',
    'tile/64/000',
    'tile/0/000.p/0',
    'tile/0/000.p/256',
    'tile/0/000.p/01',
    'tile/0/x000/001',
    'tile/0/001/000',
    'tile/0/x001',
    'tile/-1/000',
    'tile/data/000',
    '/tile/0/000',
    'tile/0/000/',
    'tile/0/../000',
    'tile/0/000.p/5\n',
    `tile/0/${'x001/'.repeat(9)}001`,
    'checkpoint',
    '',
  ])
    assert.equal(parseTilePath(path), null, path);
  const level = fc.oneof(fc.constant('entries' as const), fc.integer({ min: 0, max: 63 }));
  fc.assert(
    fc.property(level, fc.maxSafeNat(), fc.integer({ min: 1, max: 256 }), (l, n, width) => {
      assert.deepEqual(parseTilePath(tilePath({ level: l, n, width })), { level: l, n, width });
    }),
    runs,
  );
});

test('entry bundles split exactly or not at all', () => {
  const bundle = Uint8Array.of(0, 2, 65, 66, 0, 0, 0, 1, 67);
  assert.deepEqual(
    parseBundle(bundle)?.map((e) => Buffer.from(e).toString()),
    ['AB', '', 'C'],
  );
  for (const cut of [1, 3, 5, 7, 8]) assert.equal(parseBundle(bundle.subarray(0, cut)), null);
});

test('checkpoint text: every malformed part', () => {
  const root = leafHash(Buffer.from('x'));
  const good = formatCheckpoint(ORIGIN, 12, root);
  assert.deepEqual(parseCheckpoint(good), { origin: ORIGIN, size: 12, root, extensions: [] });
  const root64 = Buffer.from(root).toString('base64');
  for (const text of [
    good.slice(0, -1),
    `\n12\n${root64}\n`,
    `${ORIGIN}\n012\n${root64}\n`,
    `${ORIGIN}\n+1\n${root64}\n`,
    `${ORIGIN}\n9007199254740992\n${root64}\n`,
    `${ORIGIN}\n1e3\n${root64}\n`,
    `${ORIGIN}\n12\n${root64.slice(0, -1)}\n`,
    `${ORIGIN}\n12\n${root64.slice(4)}\n`,
    `${ORIGIN}\n12\n`,
    `${good}\n`,
    `${ORIGIN}\n\n${root64}\n`,
  ])
    assert.throws(() => parseCheckpoint(text), { code: 'CHECKPOINT_MALFORMED' }, JSON.stringify(text));
});

const entry = '{"v":1}';
const other = leafHash(Buffer.from('other'));
const proof = {
  index: 0,
  entry,
  hashes: [Buffer.from(other).toString('base64')],
  checkpoint: sign(formatCheckpoint(ORIGIN, 2, nodeHash(leafHash(Buffer.from(entry)), other))),
};

test('a log proof verifies, and each way of damaging it has its code', () => {
  const { root, ...tree } = verifyLogProof(proof, [VKEY]);
  assert.deepEqual(tree, { origin: ORIGIN, size: 2 });
  assert.equal(root, proof.checkpoint.split('\n')[2]);
  const stranger = formatVkey(ORIGIN, ED25519_TYPE, ed25519.getPublicKey(new Uint8Array(32).fill(8)));
  const otherName = formatVkey('other.example', ED25519_TYPE, ed25519.getPublicKey(seed));
  const refused = (code: string, changed: Partial<typeof proof>, vkeys = [VKEY]) =>
    assert.throws(() => verifyLogProof({ ...proof, ...changed }, vkeys), { code }, code);
  refused('INCLUSION_INVALID', { entry: '{"v":2}' });
  refused('INCLUSION_INVALID', { index: 1 });
  refused('INCLUSION_INVALID', { index: 2 });
  refused('INCLUSION_INVALID', { hashes: [] });
  refused('INCLUSION_INVALID', { hashes: [...proof.hashes, ...proof.hashes] });
  refused('INCLUSION_INVALID', { hashes: ['AAAA'] });
  refused('INCLUSION_INVALID', { hashes: [`${proof.hashes[0]} `] });
  for (const odd of [
    { hashes: null },
    { hashes: [5] },
    { hashes: 'AAAA' },
    { entry: 5 },
    { entry: '\ud800' },
    { index: '0' },
  ])
    refused('INCLUSION_INVALID', odd as Partial<typeof proof>);
  refused('INCLUSION_INVALID', { checkpoint: null } as unknown as Partial<typeof proof>);
  refused('CHECKPOINT_UNSIGNED', {}, [stranger]);
  refused('CHECKPOINT_UNSIGNED', {}, [otherName]);
  refused('CHECKPOINT_UNSIGNED', {}, []);
  refused('CHECKPOINT_UNSIGNED', { checkpoint: sign(formatCheckpoint('fork.example', 2, other)) });
  refused('CHECKPOINT_SIGNATURE_INVALID', { checkpoint: proof.checkpoint.replace('\n2\n', '\n3\n') });
  refused('CHECKPOINT_MALFORMED', { checkpoint: sign('no checkpoint\n') });
  refused('CHECKPOINT_MALFORMED', { checkpoint: proof.checkpoint.slice(0, -1) });
  refused('VKEY_INVALID', {}, [VKEY, VKEY]);
  refused('VKEY_INVALID', {}, [VKEY.slice(0, -1)]);
  // A key of last year still verifies beside today's.
  verifyLogProof(proof, [otherName, VKEY]);
});

test('one flipped bit anywhere in a signed checkpoint is refused', () => {
  const note = Buffer.from(proof.checkpoint);
  for (let bit = 0; bit < note.length * 8; bit++) {
    const changed = Buffer.from(note);
    changed[bit >> 3]! ^= 1 << (bit & 7);
    assert.throws(
      () => verifyCheckpoint(changed.toString(), [VKEY]),
      (e) => e instanceof AbatonError && e.code.startsWith('CHECKPOINT_'),
    );
  }
});

// The eight points of small order (RFC 7748 §7 / "Taming the many EdDSAs", table 1), and two non-canonical spellings.
test('keys of small order, non-canonical keys and points off the curve are no verifier keys', () => {
  for (const hex of [
    '0100000000000000000000000000000000000000000000000000000000000000',
    'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    '0000000000000000000000000000000000000000000000000000000000000000',
    '0000000000000000000000000000000000000000000000000000000000000080',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
    '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
    '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
    '0100000000000000000000000000000000000000000000000000000000000080',
    'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    '0200000000000000000000000000000000000000000000000000000000000000',
  ]) {
    const vkey = formatVkey('small.example', ED25519_TYPE, Buffer.from(hex, 'hex'));
    assert.throws(() => parseVkey(vkey), { code: 'VKEY_INVALID' }, hex);
  }
  // The forgery itself, past parseVkey: R = identity, S = 0 under the identity key.
  const identity = Uint8Array.of(1, ...new Uint8Array(31));
  const key = { name: 'small.example', id: '00000000', type: ED25519_TYPE, publicKey: identity };
  const forged = `text\n\n${formatSignatureLine(key, Uint8Array.of(...identity, ...new Uint8Array(32)))}`;
  assert.throws(() => verifyNote(forged, [key]), { code: 'CHECKPOINT_SIGNATURE_INVALID' });
});

test('arbitrary text is refused with a code, never with another error', () => {
  const piece = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('\n', '\n\n', '\u2014 ', 'a b', 'AAAAAAAA', '+', '0'),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
      for (const read of [() => verifyCheckpoint(pieces.join(''), [VKEY]), () => parseVkey(pieces.join(''))])
        assert.throws(read, (e) => e instanceof AbatonError);
    }),
    runs,
  );
  assert.throws(() => parseNote('x'.repeat(600_000)), { code: 'CHECKPOINT_MALFORMED' });
});
