/** Ciphertext blobs, immutable, named by the SHA-256 of their ciphertext. */
export interface BlobStore {
  /** Stores the stream. On return the blob is durable and can be read under `key`. Nothing remains if it throws. */
  put(ciphertext: AsyncIterable<Uint8Array>): Promise<{ key: string; bytes: number }>;
  /** Reads `length` bytes from `offset` (default: all). Throws STORE_UNAVAILABLE when the blob is absent. */
  get(key: string, range?: { offset: number; length: number }): AsyncIterable<Uint8Array>;
  /** Deletes the blob; an absent one is not an error. */
  delete(key: string): Promise<void>;
  list(): AsyncIterable<string>;
}
