/**
 * What this server wants of its keyholder, and what he brings (client: key-share.ts). He comes by himself, after he has
 * verified the evidence of this server under the customer's policy; the server never calls him. His messages are signed under
 * the key that the manifest names.
 */
import { type KeyholderWishes, parseKeyShare } from '@abaton/client';
import { AbatonError, parseOfficerVkey, type Vkey, verifyNote } from '@abaton/verify';
import { errorOf } from '../errors.ts';
import { createSignal } from '../signal.ts';
import type { Db } from './db.ts';
import { KeyHierarchy } from './keys.ts';

export interface KeyholderDesk {
  /** Null without a keyholder; `pending` while a share is waited for. */
  state(): 'none' | 'pending' | 'held';
  wishes(): Promise<KeyholderWishes>;
  /**
   * Takes a message of the keyholder. On return what follows from it is done. Throws SHARE_REFUSED when it is not his, not for
   * this app, not asked for, or does not open what it should.
   */
  take(note: string): Promise<void>;
  /**
   * Resolves with the share of that epoch. `use` is what has to succeed with it before it counts: a share that does not is
   * refused, and another is waited for. Throws KEYHOLDER_UNAVAILABLE after `timeoutMs`; without one it waits for ever.
   */
  need<T>(epoch: number, use: (share: Uint8Array) => Promise<T>, timeoutMs?: number): Promise<T>;
  /** Resolves when no share of a retired epoch is left. Throws KEYHOLDER_UNAVAILABLE. */
  allDestroyed(timeoutMs: number): Promise<void>;
}

export interface KeyholderDeskOptions {
  db: Db;
  /** As in the manifest; null: there is none. */
  vkey: string | null;
  /** `abaton/<app id>` */
  subject: string;
  /** Told of every message that counted, before it is answered. */
  record: (what: 'share-given' | 'share-refused' | 'share-destroyed', epoch: number) => Promise<unknown>;
}

interface Wanted {
  epoch: number;
  use: (share: Uint8Array) => Promise<void>;
}

/** Throws MANIFEST_INVALID when the key of the keyholder is none. */
export function createKeyholderDesk({ db, vkey, subject, record }: KeyholderDeskOptions): KeyholderDesk {
  const key = vkey === null ? null : parseKey(vkey);
  let wanted: Wanted | null = null;
  let held = false;
  const destroyed = createSignal();

  const useShare = async (epoch: number, share: Uint8Array): Promise<void> => {
    const asked = wanted;
    if (asked?.epoch !== epoch) throw refused('nobody asked for the share of that epoch');
    try {
      await asked.use(share);
    } catch (error) {
      if (!(error instanceof AbatonError) || error.code !== 'SEAL_BROKEN') throw error;
      await record('share-refused', epoch);
      throw refused('it is not the share that this vault was sealed with');
    }
    if (wanted === asked) wanted = null;
    held = true;
    await record('share-given', epoch);
  };

  return {
    state: () => (key === null ? 'none' : held ? 'held' : 'pending'),
    wishes: async () => ({
      subject,
      wanted: wanted?.epoch ?? null,
      retired: key === null ? [] : await KeyHierarchy.retiredEpochs(db),
    }),
    async take(note) {
      const { epoch, share } = readMessage(note, key, subject);
      if (share) return useShare(epoch, share);
      if (!(await KeyHierarchy.retiredEpochs(db)).includes(epoch)) throw refused('that epoch was not given up');
      await KeyHierarchy.markDestroyed(db, epoch);
      await record('share-destroyed', epoch);
      destroyed.notify();
    },
    need(epoch, use, timeoutMs) {
      const { promise, resolve, reject } = Promise.withResolvers<Awaited<ReturnType<typeof use>>>();
      const mine: Wanted = { epoch, use: async (share) => resolve(await use(share)) };
      wanted = mine;
      if (timeoutMs !== undefined) {
        const timer = setTimeout(() => {
          if (wanted === mine) wanted = null;
          reject(unavailable());
        }, timeoutMs);
        void promise.finally(() => clearTimeout(timer)).catch(() => undefined);
      }
      return promise;
    },
    async allDestroyed(timeoutMs) {
      for (const until = performance.now() + timeoutMs; key && (await KeyHierarchy.retiredEpochs(db)).length > 0; ) {
        const leftMs = until - performance.now();
        if (leftMs <= 0) throw unavailable();
        await destroyed.wait(leftMs);
      }
    },
  };
}

function parseKey(vkey: string): Vkey {
  try {
    return parseOfficerVkey(vkey);
  } catch (cause) {
    throw errorOf('MANIFEST_INVALID', 'keyholder: the vkey is no verifier key of Ed25519.', { cause });
  }
}

function readMessage(note: string, key: Vkey | null, subject: string): ReturnType<typeof parseKeyShare> {
  if (!key) throw refused('the manifest names no keyholder');
  let message: ReturnType<typeof parseKeyShare>;
  try {
    message = parseKeyShare(verifyNote(note, [key]).text);
  } catch (cause) {
    throw errorOf('SHARE_REFUSED', 'The message is not one of the keyholder that the manifest names.', { cause });
  }
  if (message.subject !== subject) throw refused('it is for another app');
  return message;
}

const refused = (why: string) => errorOf('SHARE_REFUSED', `The message of the keyholder is refused: ${why}.`);
const unavailable = () => errorOf('KEYHOLDER_UNAVAILABLE', 'The keyholder has not come in time.');
