/**
 * A policy that officers have signed: the JSON document, a blank line, and one signature line for each (C2SP signed
 * note). It stays one readable text, and whoever edits it breaks every signature.
 */
import { RejectedError } from './errors.ts';
import { MalformedError } from './formats/bytes.ts';
import { parseJson } from './formats/schema.ts';
import { type Policy, parsePolicy } from './policy.ts';
import { parseVkey, verifyNote } from './tlog/note.ts';

/**
 * `officers` are verifier keys (`name+id+base64`); `threshold` of them must have signed. Throws POLICY_UNSIGNED,
 * POLICY_INVALID, and VKEY_INVALID for a key that is none or is given twice.
 */
export function verifySignedPolicy(note: string, officers: readonly string[], threshold: number): Policy {
  const vkeys = officers.map(parseVkey);
  if (threshold < 1 || threshold > vkeys.length)
    throw new RejectedError('POLICY_UNSIGNED', `${threshold} signatures cannot be asked of ${vkeys.length} officers.`);
  const { text, signedBy } = readNote(note, vkeys);
  if (signedBy.length < threshold)
    throw new RejectedError('POLICY_UNSIGNED', `${signedBy.length} of ${threshold} officers have signed the policy.`);
  return parsePolicy(readJson(text));
}

function readNote(note: string, vkeys: Parameters<typeof verifyNote>[1]): ReturnType<typeof verifyNote> {
  try {
    return verifyNote(note, vkeys);
  } catch (cause) {
    if (!(cause instanceof RejectedError) || cause.code === 'VKEY_INVALID') throw cause;
    throw new RejectedError('POLICY_UNSIGNED', `The policy is not signed by an officer: ${cause.message}.`, { cause });
  }
}

/** The signature covers these bytes; what is no JSON has no member to name. */
function readJson(text: string): unknown {
  try {
    return parseJson(text);
  } catch (error) {
    if (error instanceof MalformedError) return null;
    throw error;
  }
}
