/** Ciphertext blobs, immutable, named by the SHA-256 of their ciphertext. */
export interface BlobStore {
  /** Stores the stream. On return the blob is durable and can be read under `key`. Nothing remains if it throws. */
  put(ciphertext: AsyncIterable<Uint8Array>): Promise<{ key: string; bytes: number }>;
  /**
   * Reads `length` bytes from `offset` (default: all); fewer when the blob ends before. Throws STORE_UNAVAILABLE when
   * the blob is absent. What comes back is as trustworthy as the store: whoever opens it checks it.
   */
  get(key: string, range?: { offset: number; length: number }): AsyncIterable<Uint8Array>;
  /** Deletes the blob; an absent one is not an error. */
  delete(key: string): Promise<void>;
  list(): AsyncIterable<string>;
  /**
   * Deletes every blob that no row refers to, which a crash between `put` and the commit of its row leaves behind, and
   * returns their number. Only at start, before the first `put`: a blob on its way in has no row yet.
   */
  reconcile(isReferenced: (key: string) => Promise<boolean>): Promise<number>;
}
