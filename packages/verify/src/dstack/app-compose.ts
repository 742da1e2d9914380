/** The application inside: dstack's app_compose, whose digest is the code hash. */
import { sha256 } from '@noble/hashes/sha2.js';
import { refuse } from '../errors.ts';
import { bytesToHex, utf8ToBytes } from '../formats/bytes.ts';

/**
 * SHA-256 of the raw app_compose, hex: never of a re-serialised form. Throws APP_COMPOSE_MISMATCH unless it is what
 * the guest measured, or the host configured, before the application started.
 */
export function verifyAppCompose(appCompose: string, composeHash: string): string {
  const seen = bytesToHex(sha256(utf8ToBytes(appCompose)));
  return seen === composeHash ? seen : refuse('APP_COMPOSE_MISMATCH', `app_compose with SHA-256 ${composeHash}`, seen);
}
