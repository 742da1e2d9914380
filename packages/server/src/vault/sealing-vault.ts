/**
 * The vault over a blob store and the key hierarchy. Layout of a wrapped object key (base64url of):
 *
 * | offset | length | meaning |
 * |---:|---:|---|
 * | 0 | 1 | version, 1: also that the blob has the format of stream.ts, version 1 |
 * | 1 | 16 | object id |
 * | 17 | 61 | object key of 32 bytes in an envelope (envelope.ts) under the patient's wrapping key |
 */
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { errorOf } from '../errors.ts';
import type { BlobStore } from './blobs.ts';
import { deriveKey, KEY_BYTES, openEnvelope, sealEnvelope } from './envelope.ts';
import { Handover } from './handover.ts';
import { type KeyHierarchy, requireSecret } from './keys.ts';
import { type ByteRange, OBJECT_ID_BYTES, openStream, STREAM_VERSION, sealStream } from './stream.ts';
import type { PatientRef, SealedObject, SealedWriter, Vault } from './vault.ts';

export class SealingVault implements Vault {
  readonly #blobs: BlobStore;
  readonly #keys: KeyHierarchy;
  readonly #patientRefKey: Uint8Array;
  readonly #blindIndexKey: Uint8Array;

  /** References and indexes come from the TEE key alone: they stay the same from epoch to epoch. */
  constructor(blobs: BlobStore, keys: KeyHierarchy, teeKey: Uint8Array) {
    this.#blobs = blobs;
    this.#keys = keys;
    this.#patientRefKey = deriveKey(requireSecret('The TEE key', teeKey), 'abaton/patient-ref/v1');
    this.#blindIndexKey = deriveKey(teeKey, 'abaton/blind-index/v1');
  }

  status() {
    return this.#keys.status();
  }

  patientRef(tenant: string, issuer: string, patientId: string): PatientRef {
    return hmac(this.#patientRefKey, ['patient', tenant, issuer, patientId]) as PatientRef;
  }

  studyPatientRef(tenant: string, studyInstanceUid: string): PatientRef {
    return hmac(this.#patientRefKey, ['study', tenant, studyInstanceUid]) as PatientRef;
  }

  blindIndex(kind: string, ...parts: readonly string[]): string {
    return hmac(this.#blindIndexKey, [kind, ...parts]);
  }

  createObject(): SealedWriter {
    const objectKey = randomBytes(KEY_BYTES);
    const objectId = randomBytes(OBJECT_ID_BYTES);
    const hash = createHash('sha256');
    let plaintextBytes = 0;
    const handover = new Handover<Uint8Array>();
    const stored = this.#blobs.put(sealStream(objectKey, objectId, handover));
    stored.catch(() => undefined); // reported by the write or finish that waits for it

    return {
      write: async (chunk) => {
        hash.update(chunk);
        plaintextBytes += chunk.length;
        await Promise.race([handover.give(chunk), stored]);
      },
      finish: async (patient) => {
        const { wrap } = await this.#keys.forSealing(patient);
        handover.end();
        const { key } = await stored;
        const wrapped = sealEnvelope(wrap, objectKeyContext(patient, objectId), objectKey);
        return {
          blobKey: key,
          wrappedKey: Buffer.concat([Uint8Array.of(STREAM_VERSION), objectId, wrapped]).toString('base64url'),
          plaintextBytes,
          plaintextSha256: hash.digest('hex'),
        };
      },
      abort: async () => {
        handover.fail(new Error('the object was given up'));
        // A blob that cannot be deleted now has no row: the next start deletes it.
        await stored.then(({ key }) => this.#blobs.delete(key)).catch(() => undefined);
      },
    };
  }

  async *openObject(patient: PatientRef, object: SealedObject, range?: ByteRange): AsyncGenerator<Uint8Array> {
    const wrapped = Buffer.from(object.wrappedKey, 'base64url');
    // Text that is not the canonical base64url of its bytes was changed, even where the bytes are the same.
    if (wrapped[0] !== STREAM_VERSION || wrapped.toString('base64url') !== object.wrappedKey)
      throw errorOf('SEAL_BROKEN', 'A wrapped object key does not open.');
    const objectId = wrapped.subarray(1, 1 + OBJECT_ID_BYTES);
    const { wrap } = await this.#keys.forOpening(patient);
    const objectKey = openEnvelope(wrap, objectKeyContext(patient, objectId), wrapped.subarray(1 + OBJECT_ID_BYTES));
    const read = (bytes: ByteRange) => this.#blobs.get(object.blobKey, bytes);
    yield* openStream(objectKey, objectId, object.plaintextBytes, read, range);
  }

  async sealValue(patient: PatientRef, context: string, plaintext: Uint8Array): Promise<Uint8Array> {
    const { value } = await this.#keys.forSealing(patient);
    return sealEnvelope(value, ['value', patient, context], plaintext);
  }

  async openValue(patient: PatientRef, context: string, sealed: Uint8Array): Promise<Uint8Array> {
    const { value } = await this.#keys.forOpening(patient);
    return openEnvelope(value, ['value', patient, context], sealed);
  }
}

const objectKeyContext = (patient: PatientRef, objectId: Uint8Array) => [
  'object-key',
  patient,
  Buffer.from(objectId).toString('hex'),
];

const hmac = (key: Uint8Array, parts: readonly string[]): string =>
  createHmac('sha256', key).update(JSON.stringify(parts)).digest('base64url');
