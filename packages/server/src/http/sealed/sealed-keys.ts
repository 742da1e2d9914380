/**
 * The HPKE key pairs that requests are sealed to, X-Wing (X25519 and ML-KEM-768) first. Evidence names the newest; the one
 * before lives on for one attestation interval, for clients that have just verified it. Private keys are never written:
 * what was recorded on the way cannot be opened once its key is gone.
 */
import { randomInt } from 'node:crypto';
import {
  DHKEM_X25519,
  formatKeyConfigs,
  generateRecipientKey,
  type KemId,
  type OpeningKey,
  type RecipientKey,
  X_WING,
} from '@abaton/client';
import { errorOf } from '../../errors.ts';
import { createReplayGuard, type ReplayGuard } from './replay-guard.ts';

export interface SealedKeys {
  /** `hpkePublicKey` of evidence: the key configurations (RFC 9458 section 3), base64. Makes new keys when they are due. */
  hpkePublicKey(): Promise<string>;
  /** Null when there is no such key, or no longer. */
  find(keyId: number, kemId: KemId): OpeningKey | null;
}

export interface SealedKeysOptions {
  /** How long a key that evidence no longer names still opens: the attestation interval. */
  graceMs: number;
  /** For tests. Monotonic: the wall clock belongs to the host. */
  nowMs?: () => number;
  /** For tests. */
  maxRequests?: number;
}

/** How much a key that leaks would open: at most the requests of a day. */
const ROTATE_MS = 24 * 60 * 60_000;
/** draft-ietf-ohai-chunked-ohttp-08 section 7.3 reckons with 2^20 messages; also what bounds the replay guard. */
const MAX_REQUESTS = 2 ** 20;
const KEMS: readonly KemId[] = [X_WING, DHKEM_X25519];

interface Generation {
  keyId: number;
  keys: (RecipientKey & { guard: ReplayGuard })[];
  dueMs: number;
  /** From then on nothing opens. */
  endMs: number;
}

export function createSealedKeys(options: SealedKeysOptions): SealedKeys {
  const { graceMs, nowMs = () => performance.now(), maxRequests = MAX_REQUESTS } = options;
  let nextId = randomInt(256); // so that what was sealed to an earlier process mostly finds no key rather than a wrong one
  let generations: Generation[] = []; // the newest first
  let making: Promise<Generation> | null = null;

  const living = () => {
    const now = nowMs();
    generations = generations.filter(({ endMs }) => now < endMs);
    return generations;
  };
  const isDue = ({ dueMs, keys }: Generation) => nowMs() >= dueMs || keys.some(({ guard }) => guard.isFull());
  const make = async (): Promise<Generation> => {
    const keyId = nextId;
    nextId = (nextId + 1) % 256;
    const made = await Promise.all(KEMS.map((kemId) => generateRecipientKey(keyId, kemId)));
    const dueMs = nowMs() + ROTATE_MS;
    const keys = made.map((key) => ({ ...key, guard: createReplayGuard(maxRequests) }));
    const newest = { keyId, keys, dueMs, endMs: dueMs + graceMs };
    const old = living().map((previous) => ({ ...previous, endMs: Math.min(previous.endMs, nowMs() + graceMs) }));
    generations = [newest, ...old];
    return newest;
  };
  const newest = async (): Promise<Generation> => {
    const [current] = living();
    if (current && !isDue(current)) return current;
    making ??= make().finally(() => {
      making = null;
    });
    return making;
  };

  return {
    async hpkePublicKey() {
      const { keys } = await newest();
      return Buffer.from(formatKeyConfigs(keys.map(({ config }) => config))).toString('base64');
    },
    find(keyId, kemId) {
      const key = living()
        .find((generation) => generation.keyId === keyId)
        ?.keys.find(({ config }) => config.kemId === kemId);
      if (!key || key.guard.isFull()) return null;
      const { pair, guard } = key;
      return {
        pair,
        admit(encapsulatedKey) {
          if (guard.isFull()) throw errorOf('SEALED_KEY_UNKNOWN', 'This key takes no more requests.');
          if (!guard.add(encapsulatedKey)) throw errorOf('SEALED_REPLAYED', 'This request was taken before.');
        },
      };
    },
  };
}
