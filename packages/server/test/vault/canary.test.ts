// I2: nothing identifying stands in clear in the data directory, in any encoding, while it is open or closed.
import assert from 'node:assert/strict';
import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { newInstance, resultOf } from '../archive-fixture.ts';
import { filesUnder, scratch, testState } from './support.ts';

/** Each in its own place, none of them a piece of another. */
const CANARIES = {
  patientId: 'CANARY-MRN-4711',
  issuer: 'CANARY-ISSUER-77',
  name: 'CANARYNAME^ZEBRA',
  pixels: 'CANARY burned into pixels',
  study: '2.25.314159265358979323846',
  series: '2.25.271828182845904523536',
  sop: '2.25.141421356237309504880',
  reason: 'canary-reason-of-result',
  state: 'canary-of-sealed-state',
};

/** The text as UTF-8, UTF-16 of both orders, hex of both cases, and base64 at each of its three alignments. */
function encodings(text: string): Buffer[] {
  const utf8 = Buffer.from(text);
  const utf16 = Buffer.from(text, 'utf16le');
  const base64 = [0, 1, 2].flatMap((shift) => {
    const encoded = Buffer.concat([Buffer.alloc(shift), utf8]).toString('base64');
    const inner = encoded.slice(Math.ceil((shift * 8) / 6), Math.floor(((shift + utf8.length) * 8) / 6));
    return [inner, inner.replaceAll('+', '-').replaceAll('/', '_')];
  });
  const hex = utf8.toString('hex');
  return [utf8, utf16, Buffer.from(utf16).swap16(), ...[hex, hex.toUpperCase(), ...base64].map((s) => Buffer.from(s))];
}

/** Names of the canaries that are found, in a file or in a file's name. */
async function sweep(directory: string): Promise<string[]> {
  const files = await filesUnder(directory);
  assert.ok(files.size >= 2); // the database and a blob
  return Object.entries(CANARIES).flatMap(([name, text]) =>
    encodings(text).some((needle) =>
      [...files].some(([path, content]) => content.includes(needle) || Buffer.from(path).includes(needle)),
    )
      ? [name]
      : [],
  );
}

test('no canary is found in the data directory; a deliberate leak is', async (t) => {
  const dataDir = await scratch(t);
  const state = await testState(t, { dataDir });
  const { archive, vault, queue, sealedState, db } = state;
  const instance = await newInstance(state, {
    study: CANARIES.study,
    series: CANARIES.series,
    sop: CANARIES.sop,
    patientId: CANARIES.patientId,
    bytes: Buffer.from(`${CANARIES.pixels.repeat(5000)}`),
    elements: [
      { tag: 0x00100010, vr: 'PN', value: Buffer.from(CANARIES.name) },
      { tag: 0x00100021, vr: 'LO', value: Buffer.from(CANARIES.issuer, 'utf16le') },
    ],
  });
  await archive.addInstances([instance]);
  vault.patientRef('test', CANARIES.issuer, CANARIES.patientId);
  const job = (await queue.lease('analyze-study', 60_000))!;
  const study = archive.studyRef(CANARIES.study);
  const { inputDigest } = await archive.inputOf(study);
  const result = resultOf(study, instance.patient, inputDigest, CANARIES.study);
  result.body.reasons = [CANARIES.reason];
  await archive.commitResult(job, result, null);
  await sealedState.put(db, 'note', Buffer.from(CANARIES.state));
  assert.deepEqual(await sweep(dataDir), []);
  // The digests of the plaintext identify the content too, and so does the id of the result.
  const files = [...(await filesUnder(dataDir)).values()];
  for (const digest of [instance.object.plaintextSha256, inputDigest, result.id])
    for (const needle of [Buffer.from(digest), Buffer.from(digest, 'hex')])
      assert.ok(!files.some((content) => content.includes(needle)));
  await state.close();
  assert.deepEqual(await sweep(dataDir), []);

  const leaks: [string, Uint8Array][] = Object.values(CANARIES).flatMap((text) =>
    encodings(text).map((leak): [string, Uint8Array] => [text, leak]),
  );
  for (const [i, [text, leak]] of leaks.entries()) {
    const leaky = await scratch(t);
    await appendFile(join(leaky, 'a'), 'x');
    await appendFile(join(leaky, 'b'), Buffer.concat([Buffer.from('x'.repeat(i)), leak, Buffer.from('y')]));
    const name = Object.entries(CANARIES).find(([, value]) => value === text)![0];
    assert.deepEqual(await sweep(leaky), [name]);
  }
});
