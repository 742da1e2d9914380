/**
 * Everything that is stored is sealed here: object key → patient key → epoch key → TEE key ‖ keyholder's share.
 * A patient is (tenant, issuer of patient id, patient id); a study without a patient id stands for itself.
 */

/** Opaque, stable reference of one patient: a blind index (HMAC under a TEE-held key). Safe in rows and job payloads. */
export type PatientRef = string & { readonly __brand: 'PatientRef' };

/** Points at one sealed object. Contains no plaintext; kept in a row. */
export interface SealedObject {
  blobKey: string;
  /** Object key wrapped by the patient key; base64url, versioned (layout in sealing-vault.ts). */
  wrappedKey: string;
  plaintextBytes: number;
  /** SHA-256 of the plaintext, hex. Kept only inside sealed rows: it identifies the content. */
  plaintextSha256: string;
}

/** One object on its way in. The patient is often known only once the header has passed by, so it is named at the end. */
export interface SealedWriter {
  /**
   * Resolves when the chunk is taken (backpressure): its memory may be reused then, and the next one written. Throws
   * STORE_UNAVAILABLE when the store has failed.
   */
  write(chunk: Uint8Array): Promise<void>;
  /** On return the ciphertext is durable. The caller still has to commit the row that holds the result. */
  finish(patient: PatientRef): Promise<SealedObject>;
  /** Forgets it and removes what was written. Never throws. */
  abort(): Promise<void>;
}

export interface Vault {
  /** 'none': old data opens for any code that gets the TEE key, since nobody outside holds a share of the epoch key. */
  status(): { keyholder: 'none' | 'held'; epoch: number };

  patientRef(tenant: string, issuer: string, patientId: string): PatientRef;
  /** For a study without a patient id. */
  studyPatientRef(tenant: string, studyInstanceUid: string): PatientRef;
  /** HMAC of an exact key (UID, accession number) for look-up in rows: same input, same index; reveals nothing. */
  blindIndex(kind: string, ...parts: readonly string[]): string;

  createObject(): SealedWriter;
  /**
   * Decrypts the object, or a part of it. Throws SEAL_BROKEN before it yields a changed chunk, REQUEST_INVALID when the
   * range does not lie within the object.
   */
  openObject(
    patient: PatientRef,
    object: SealedObject,
    range?: { offset: number; length: number },
  ): AsyncIterable<Uint8Array>;

  /** Seals a small value for a row. `context` (table and row id) is authenticated: a value moved to another row does not open. */
  sealValue(patient: PatientRef, context: string, plaintext: Uint8Array): Promise<Uint8Array>;
  openValue(patient: PatientRef, context: string, sealed: Uint8Array): Promise<Uint8Array>;
}
