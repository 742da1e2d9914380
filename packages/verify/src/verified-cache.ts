/** Signatures need verifying once: collateral, GPU certificates and RIMs stay the same for days, evidence comes every few minutes. */
import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, utf8ToBytes } from './formats/bytes.ts';

const ENTRIES = 64; // two for each of a few platform families; for eight GPUs and four switches a chain each, and a few RIMs

/** SHA-256 of a JSON value, hex. */
export const digestOf = (json: unknown): string => bytesToHex(sha256(utf8ToBytes(JSON.stringify(json))));

/** Holds what has been authenticated, by digest of all its input. Dates are never part of it. Keep one per process. */
export class VerifiedCache {
  readonly #entries = new Map<string, Promise<unknown>>();

  /** At most 64. */
  get size(): number {
    return this.#entries.size;
  }

  /**
   * Runs `authenticate` unless it has succeeded with the same `input` before: all that the outcome depends on, or its digest.
   */
  async once<T>(kind: string, input: readonly string[], authenticate: () => Promise<T>): Promise<T> {
    const key = digestOf([kind, ...input]);
    const known = this.#entries.get(key) as Promise<T> | undefined;
    const entry = known ?? authenticate();
    this.#entries.delete(key); // the one used last goes to the end
    if (this.#entries.size >= ENTRIES) this.#entries.delete(this.#entries.keys().next().value!);
    this.#entries.set(key, entry);
    try {
      return await entry;
    } catch (error) {
      if (this.#entries.get(key) === entry) this.#entries.delete(key);
      throw error;
    }
  }
}
