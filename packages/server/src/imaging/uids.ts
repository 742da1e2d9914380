/** UIDs that follow from what they name, so that making the same object twice gives the same object. */
import { createHash } from 'node:crypto';

/** `2.25.` and a UUID (PS3.5 section B.2), version 8 of RFC 9562: SHA-256 of the parts, cut to 122 bits. */
export function deriveUid(...parts: readonly string[]): string {
  const hash = createHash('sha256')
    .update(JSON.stringify(['abaton-uid-v1', ...parts]))
    .digest();
  hash[6] = (hash[6]! & 0x0f) | 0x80;
  hash[8] = (hash[8]! & 0x3f) | 0x80;
  return `2.25.${BigInt(`0x${hash.toString('hex', 0, 16)}`)}`;
}
