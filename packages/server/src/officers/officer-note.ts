/**
 * What officers of the manifest sign: C2SP notes that are ours, by the right office, and fresh. Incidents end with one
 * (tee/resolution.ts), and orders are given with one (order-desk.ts).
 */
import { parseOfficerVkey, parseVkey, type Vkey, verifyNote } from '@abaton/verify';
import { errorOf } from '../errors.ts';

/** As in the manifest. */
export interface Officer {
  name: string;
  role: string;
  public_key: string;
}

export interface Signer {
  name: string;
  role: string;
  vkey: Vkey;
}

/** How such a note is called, and the code under which it is refused. */
export interface NoteKind {
  name: 'resolution' | 'order';
  code: 'RESOLUTION_INVALID' | 'ORDER_INVALID';
}

export const MAX_AGE_MS = 15 * 60_000; // signed and posted by one command; the rest is for clocks that differ
export const MAX_AHEAD_MS = 5 * 60_000; // between two clocks, RFC 4120 section 7.5.8

/** Those of these roles. Throws MANIFEST_INVALID when a key is none. */
export function parseSigners(officers: readonly Officer[], roles: readonly string[]): Signer[] {
  return officers.filter(({ role }) => roles.includes(role)).map(parseSigner);
}

function parseSigner({ name, role, public_key: key }: Officer): Signer {
  try {
    return { name, role, vkey: parseOfficerVkey(key) };
  } catch (cause) {
    throw errorOf('MANIFEST_INVALID', 'officers: a public_key is no usable verifier key.', { cause });
  }
}

/** Returns the text, and the first of the signers that has signed it. Throws the code of the kind. */
export function verifyOfficerNote(
  note: string,
  signers: readonly Signer[],
  { name, code }: NoteKind,
): { text: string; signer: Signer } {
  try {
    const { text, signedBy } = verifyNote(
      note,
      signers.map(({ vkey }) => vkey),
    );
    return { text, signer: signers.find(({ vkey }) => vkey === signedBy[0])! };
  } catch (cause) {
    throw errorOf(code, `The ${name} is not signed by a security-officer or privacy-officer of the manifest.`, {
      cause,
    });
  }
}

/** Signed for this log, and within the last 15 minutes. Throws the code of the kind. */
export function verifyOursAndFresh(
  signed: { origin: string; signedMs: number },
  expected: { logVkeys: readonly string[]; nowMs: number },
  kind: NoteKind,
): void {
  const ageMs = expected.nowMs - signed.signedMs;
  // the log of this year, or of one before: it may have ended while the officer was signing
  if (!expected.logVkeys.some((vkey) => parseVkey(vkey).name === signed.origin))
    throw noteInvalid(kind, 'it was signed for another log');
  if (ageMs > MAX_AGE_MS) throw noteInvalid(kind, 'it was not signed within the last 15 minutes');
  if (-ageMs > MAX_AHEAD_MS) throw noteInvalid(kind, 'it is dated more than five minutes ahead');
}

export const noteInvalid = ({ name, code }: NoteKind, why: string) =>
  errorOf(code, `The ${name} does not hold: ${why}.`);
