/** The SCALE encoding against an attestation that dstack made (its simulator's attestation.bin). */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { encodeAttestation } from '../src/attestation.ts';
import { decodeAttestation } from './scale-reader.ts';

const data = process.env.ABATON_TEST_DATA ?? join(import.meta.dirname, '../../../../shared/data');
const file = join(data, 'attestation/dstack/simulator/attestation.bin');

test('encoding what was read from a real attestation gives its bytes', async (t) => {
  if (!existsSync(file)) return t.skip('needs ABATON_TEST_DATA');
  const bytes = await readFile(file);
  const { quote, eventLog, reportData, config, rest } = decodeAttestation(bytes);
  assert.equal(rest, 0);
  const again = encodeAttestation(quote, eventLog, Buffer.from(reportData, 'hex'), config, false);
  assert.ok(again.equals(bytes));
  assert.throws(() => decodeAttestation(bytes.subarray(0, -1)), RangeError);
  const stripped = encodeAttestation(quote, eventLog, Buffer.from(reportData, 'hex'), config, true);
  assert.ok(decodeAttestation(stripped).eventLog.every(({ imr, digest }) => imr === 3 && digest === ''));
});
