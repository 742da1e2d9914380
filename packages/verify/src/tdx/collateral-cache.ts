/** Signatures of collateral need verifying once: it stays the same for days, while quotes come every few minutes. */
import { sha256 } from '@noble/hashes/sha2.js';
import type { TdxCollateral } from '../evidence.ts';
import { bytesToHex, utf8ToBytes } from '../formats/bytes.ts';
import { authenticateLists, authenticateTcb, type RevocationLists, type TcbCollateral } from './collateral.ts';

const ENTRIES = 16; // a handful of platform families, two entries each

/** Holds authenticated collateral, by digest of all its input. Dates are never part of it. Keep one per process. */
export class CollateralCache {
  readonly #entries = new Map<string, Promise<unknown>>();

  /** At most 16. */
  get size(): number {
    return this.#entries.size;
  }

  lists(collateral: TdxCollateral, rootDer: Uint8Array): Promise<RevocationLists> {
    return this.#once('lists', collateral, rootDer, authenticateLists);
  }

  tcb(collateral: TdxCollateral, rootDer: Uint8Array): Promise<TcbCollateral> {
    return this.#once('tcb', collateral, rootDer, authenticateTcb);
  }

  async #once<T>(
    kind: string,
    collateral: TdxCollateral,
    rootDer: Uint8Array,
    authenticate: (collateral: TdxCollateral, rootDer: Uint8Array) => Promise<T>,
  ): Promise<T> {
    const key = bytesToHex(sha256(utf8ToBytes(JSON.stringify([kind, bytesToHex(rootDer), collateral]))));
    let entry = this.#entries.get(key) as Promise<T> | undefined;
    if (!entry) {
      if (this.#entries.size >= ENTRIES) this.#entries.delete(this.#entries.keys().next().value!);
      entry = authenticate(collateral, rootDer);
      this.#entries.set(key, entry);
      entry.catch(() => this.#entries.delete(key));
    }
    return entry;
  }
}
