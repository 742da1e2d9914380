/**
 * What a keyholder says to a server, as the texts of C2SP signed notes under the key that the manifest names. The share of an
 * epoch goes over a connection that was verified (connect-verified.ts), and nowhere else:
 *
 *     abaton key share v1                 abaton key share destroyed v1
 *     <subject>                           <subject>
 *     epoch <n>                           epoch <n>
 *     share <base64 of 32 bytes>
 *
 * The subject names the app whose keys they are, `abaton/<app id>`.
 */
import { RejectedError } from '@abaton/verify';
import type { ClientCode } from './codes.ts';

export interface KeyShare {
  subject: string;
  epoch: number;
  /** 32 bytes; null: destroyed. */
  share: Uint8Array | null;
}

/** What a server asks of its keyholder: the answer of `GET /api/v1/keyholder`. */
export interface KeyholderWishes {
  subject: string;
  /** The epoch whose share is needed now: to open the vault, or to begin the next epoch. Null: none. */
  wanted: number | null;
  /** Epochs that nothing needs any more: their shares are to be destroyed. */
  retired: number[];
}

export const SHARE_BYTES = 32;
const GIVEN = 'abaton key share v1';
const DESTROYED = 'abaton key share destroyed v1';

export const formatKeyShare = ({ subject, epoch, share }: KeyShare): string =>
  share
    ? `${GIVEN}\n${subject}\nepoch ${epoch}\nshare ${Buffer.from(share).toString('base64')}\n`
    : `${DESTROYED}\n${subject}\nepoch ${epoch}\n`;

/** Throws SHARE_INVALID. Whose signature it bears is for the caller to say. */
export function parseKeyShare(text: string): KeyShare {
  const [title, subject = '', epochLine = ''] = text.split('\n');
  const epoch = Number(/^epoch ([1-9]\d{0,8})$/.exec(epochLine)?.[1] ?? Number.NaN);
  const [, encoded] = /\nshare ([A-Za-z0-9+/]{43}=)\n$/.exec(text) ?? [];
  const parsed = { subject, epoch, share: encoded === undefined ? null : Buffer.from(encoded, 'base64') };
  // one spelling for each: what is not written as we would write it is refused
  if ((title === GIVEN) === (parsed.share !== null) && formatKeyShare(parsed) === text) return parsed;
  throw new RejectedError<ClientCode>('SHARE_INVALID', 'The share does not follow its format.');
}

/** Throws ANSWER_INVALID for what is no such answer. */
export function parseKeyholderWishes(answer: unknown): KeyholderWishes {
  const { subject, wanted, retired } = (answer ?? {}) as Record<string, unknown>;
  const isEpoch = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) > 0;
  if (
    typeof subject === 'string' &&
    (wanted === null || isEpoch(wanted)) &&
    Array.isArray(retired) &&
    retired.every(isEpoch)
  )
    return { subject, wanted, retired };
  throw new RejectedError<ClientCode>('ANSWER_INVALID', 'The server does not say what it wants of its keyholder.');
}
