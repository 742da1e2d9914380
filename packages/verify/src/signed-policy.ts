/**
 * A policy that officers have signed: the JSON document, a blank line, and one signature line for each (C2SP signed
 * note). It stays one readable text, and whoever edits it breaks every signature.
 */
import { RejectedError } from './errors.ts';
import { bytesToHex } from './formats/bytes.ts';
import { type Policy, parsePolicyText } from './policy.ts';
import { parseOfficerVkey, verifyNote } from './tlog/note.ts';

/**
 * `officers` are verifier keys (`name+id+base64`); `threshold` of them must have signed. Throws POLICY_UNSIGNED,
 * POLICY_INVALID, and VKEY_INVALID for a key that is none or is given twice.
 */
export function verifySignedPolicy(note: string, officers: readonly string[], threshold: number): Policy {
  const vkeys = officers.map(parseOfficerVkey);
  const keys = new Set(vkeys.map(({ publicKey }) => bytesToHex(publicKey)));
  if (keys.size < vkeys.length)
    throw new RejectedError('VKEY_INVALID', 'One key is given twice: it would count twice.');
  if (!Number.isInteger(threshold) || threshold < 1 || threshold > vkeys.length)
    throw new RejectedError('POLICY_UNSIGNED', `${threshold} signatures cannot be asked of ${vkeys.length} officers.`);
  const { text, signedBy } = readNote(note, vkeys);
  if (signedBy.length < threshold)
    throw new RejectedError('POLICY_UNSIGNED', `${signedBy.length} of ${threshold} officers have signed the policy.`);
  return parsePolicyText(text);
}

function readNote(note: string, vkeys: Parameters<typeof verifyNote>[1]): ReturnType<typeof verifyNote> {
  try {
    return verifyNote(note, vkeys);
  } catch (cause) {
    if (!(cause instanceof RejectedError) || cause.code === 'VKEY_INVALID') throw cause;
    throw new RejectedError('POLICY_UNSIGNED', `The policy is not signed by an officer: ${cause.message}.`, { cause });
  }
}
