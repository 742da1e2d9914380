/** C2SP signed notes and verifier keys (c2sp.org/signed-note v1.0), Ed25519 (type 0x01). */
import { ed25519 } from '@noble/curves/ed25519.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { RejectedError } from '../errors.ts';
import { bytesToHex, concatBytes, decodeBase64, encodeBase64, hexToBytes, utf8ToBytes } from '../formats/bytes.ts';
import { type LogCode, refuseLog } from './codes.ts';

/** Signature type identifier bytes (signed-note, "Signature types"). */
export const ED25519_TYPE = 0x01;
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
  const [type, publicKey] = [key[0], key.subarray(1)];
  if (type !== ED25519_TYPE || publicKey.length !== 32)
    return refuseLog('VKEY_INVALID', 'the verifier key is not a 32-byte Ed25519 key (type 0x01)');
  if (keyId(name, type, publicKey) !== id) return refuseLog('VKEY_INVALID', 'the key id does not belong to the key');
  if (!isStrongPoint(publicKey)) return refuseLog('VKEY_INVALID', 'the public key is no point, or of small order');
  return { name, id, type, publicKey };
}

/** WebCrypto engines differ on small-order keys (Chromium accepts a forgery under one), so such keys are refused. */
function isStrongPoint(publicKey: Uint8Array): boolean {
  try {
    return !ed25519.Point.fromBytes(publicKey).isSmallOrder();
  } catch {
    return false;
  }
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

/**
 * The text of a note and the keys that signed it, in the order of its lines. Unknown keys are ignored, a repeated line
 * of a key too; one wrong signature of a known key refuses the note. Throws CHECKPOINT_MALFORMED, CHECKPOINT_UNSIGNED,
 * CHECKPOINT_SIGNATURE_INVALID, and VKEY_INVALID when two of the given keys share name and id.
 */
export function verifyNote(note: string, vkeys: readonly Vkey[]): { text: string; signedBy: Vkey[] } {
  const { text, signatures } = parseNote(note);
  const message = utf8ToBytes(text);
  const signedBy: Vkey[] = [];
  for (const { name, id, signature } of signatures) {
    const [vkey, ...others] = vkeys.filter((key) => key.name === name && key.id === id);
    if (others.length > 0) return refuseLog('VKEY_INVALID', 'two verifier keys share one name and id');
    if (vkey === undefined || signedBy.includes(vkey)) continue;
    if (!isSignature(signature, message, vkey))
      return refuseLog('CHECKPOINT_SIGNATURE_INVALID', `signature of key ${id}`);
    signedBy.push(vkey);
  }
  if (signedBy.length === 0) return refuseLog('CHECKPOINT_UNSIGNED', 'no signature by a known key');
  return { text, signedBy };
}

/** RFC 8032 §5.1.7, strict: no small-order key, no non-canonical encoding. */
const isSignature = (signature: Uint8Array, message: Uint8Array, vkey: Vkey): boolean =>
  signature.length === 64 && ed25519.verify(signature, message, vkey.publicKey, { zip215: false });

/** One signature line, with its newline. */
export function formatSignatureLine(vkey: Pick<Vkey, 'name' | 'id'>, signature: Uint8Array): string {
  return `\u2014 ${vkey.name} ${encodeBase64(concatBytes(hexToBytes(vkey.id), signature))}\n`;
}

/** Canonical base64, or that refusal. */
export function readBase64(text: string, code: LogCode, message: string): Uint8Array {
  try {
    return decodeBase64(text);
  } catch (cause) {
    throw new RejectedError<LogCode>(code, message, { cause });
  }
}
