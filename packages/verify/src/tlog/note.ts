/** C2SP signed notes and verifier keys (c2sp.org/signed-note v1.0). What each type of key signs: signature-types.ts. */
import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, concatBytes, encodeBase64, hexToBytes, utf8ToBytes } from '../formats/bytes.ts';
import { readBase64, refuseLog } from './codes.ts';
import { ED25519_TYPE, isUsableKey, verifySignature } from './signature-types.ts';

/** The limit of golang.org/x/mod/sumdb/note; the specification asks for at least 16. */
const MAX_SIGNATURES = 100;
/** 100 lines of the largest known signature (ML-DSA-87: "nearly 5kB" in signed-note). */
const MAX_NOTE_CHARS = 100 * 5120;

export interface Vkey {
  name: string;
  /** 8 hex digits. */
  id: string;
  type: number;
  publicKey: Uint8Array;
}

export interface NoteSignature {
  name: string;
  /** Key id, 8 hex digits. */
  id: string;
  signature: Uint8Array;
}

export interface Note {
  /** What is signed: everything up to and with the newline before the blank line. */
  text: string;
  signatures: NoteSignature[];
}

const isKeyName = (name: string): boolean =>
  name.length > 0 && name.isWellFormed() && !/[\p{White_Space}+]/u.test(name);

/** SHA-256(name ‖ "\n" ‖ type ‖ public key)[:4], hex. */
export const keyId = (name: string, type: number, publicKey: Uint8Array): string =>
  bytesToHex(sha256(concatBytes(utf8ToBytes(`${name}\n`), Uint8Array.of(type), publicKey)).subarray(0, 4));

/** Throws VKEY_INVALID when no such key can stand in a note. */
export function formatVkey(name: string, type: number, publicKey: Uint8Array): string {
  if (!isKeyName(name)) return refuseLog('VKEY_INVALID', 'a key name must be non-empty, without white space and "+"');
  return `${name}+${keyId(name, type, publicKey)}+${encodeBase64(concatBytes(Uint8Array.of(type), publicKey))}`;
}

/** Reads `<name>+<hex key id>+<base64(type ‖ public key)>`. Throws VKEY_INVALID. */
export function parseVkey(text: string): Vkey {
  const [, name, id, encoded] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/s.exec(text) ?? [];
  if (name === undefined || id === undefined || encoded === undefined || !isKeyName(name))
    return refuseLog('VKEY_INVALID', 'the verifier key is not name+id+base64');
  const key = readBase64(encoded, 'VKEY_INVALID', 'the verifier key is not base64');
  const [type = 0, publicKey] = [key[0], key.subarray(1)];
  if (keyId(name, type, publicKey) !== id) return refuseLog('VKEY_INVALID', 'the key id does not belong to the key');
  if (!isUsableKey(type, publicKey))
    return refuseLog(
      'VKEY_INVALID',
      'the key is no Ed25519 or ML-DSA-44 key (types 0x01, 0x04, 0x06) that can be used',
    );
  return { name, id, type, publicKey };
}

/** A key of an officer: what officers sign is no checkpoint, so that no cosignature of theirs could verify. Throws VKEY_INVALID. */
export function parseOfficerVkey(text: string): Vkey {
  const vkey = parseVkey(text);
  return vkey.type === ED25519_TYPE ? vkey : refuseLog('VKEY_INVALID', 'an officer signs with Ed25519 (type 0x01)');
}

/** Reads a note without judging its signatures. Throws CHECKPOINT_MALFORMED. */
export function parseNote(note: string): Note {
  const malformed: (why: string) => never = (why) => refuseLog('CHECKPOINT_MALFORMED', `not a signed note: ${why}`);
  if (note.length > MAX_NOTE_CHARS) return malformed(`longer than ${MAX_NOTE_CHARS} characters`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the format forbids exactly these
  if (!note.isWellFormed() || /[\0-\x09\x0b-\x1f]/.test(note)) return malformed('control character or invalid Unicode');
  const blank = note.lastIndexOf('\n\n');
  if (blank < 0 || !note.endsWith('\n') || blank + 2 === note.length) return malformed('no signature lines');
  const lines = note.slice(blank + 2, -1).split('\n');
  if (lines.length > MAX_SIGNATURES) return malformed(`more than ${MAX_SIGNATURES} signatures`);
  const signatures = lines.map((line): NoteSignature => {
    const [, name, encoded] = /^\u2014 ([^ ]+) (.+)$/.exec(line) ?? [];
    if (name === undefined || encoded === undefined || !isKeyName(name))
      return malformed('a signature line is not "— name base64"');
    const bytes = readBase64(encoded, 'CHECKPOINT_MALFORMED', 'a signature is not base64');
    if (bytes.length < 5) return malformed('a signature is too short');
    return { name, id: bytesToHex(bytes.subarray(0, 4)), signature: bytes.subarray(4) };
  });
  return { text: note.slice(0, blank + 1), signatures };
}

export interface VerifiedNote {
  text: string;
  /** In the order of the lines. */
  signedBy: Vkey[];
  /** When those who cosigned did so, POSIX seconds. */
  timesS: ReadonlyMap<Vkey, number>;
}

/**
 * The text of a note and the keys that signed it. Unknown keys are ignored, a repeated line of a key too; one wrong
 * signature of a known key refuses the note. Throws CHECKPOINT_MALFORMED, CHECKPOINT_UNSIGNED,
 * CHECKPOINT_SIGNATURE_INVALID, and VKEY_INVALID when two of the given keys share name and id.
 */
export function verifyNote(note: string, vkeys: readonly Vkey[]): VerifiedNote {
  const { text, signatures } = parseNote(note);
  const signedBy: Vkey[] = [];
  const timesS = new Map<Vkey, number>();
  for (const { name, id, signature } of signatures) {
    const [vkey, ...others] = vkeys.filter((key) => key.name === name && key.id === id);
    if (others.length > 0) return refuseLog('VKEY_INVALID', 'two verifier keys share one name and id');
    if (vkey === undefined || signedBy.includes(vkey)) continue;
    const verified = verifySignature(vkey, text, signature);
    if (!verified) return refuseLog('CHECKPOINT_SIGNATURE_INVALID', `signature of key ${id}`);
    if (verified.timestampS !== null) timesS.set(vkey, verified.timestampS);
    signedBy.push(vkey);
  }
  if (signedBy.length === 0) return refuseLog('CHECKPOINT_UNSIGNED', 'no signature by a known key');
  return { text, signedBy, timesS };
}

/** One signature line, with its newline. `signature`: as it stands in a note (signature-types.ts, encodeSignature). */
export function formatSignatureLine(vkey: Pick<Vkey, 'name' | 'id'>, signature: Uint8Array): string {
  return `\u2014 ${vkey.name} ${encodeBase64(concatBytes(hexToBytes(vkey.id), signature))}\n`;
}
