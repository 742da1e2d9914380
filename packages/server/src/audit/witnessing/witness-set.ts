/** Who witnesses this log: what the manifest says, checked. */
import { ED25519_COSIGNATURE_TYPE, ML_DSA_44_TYPE, parseVkey, type Vkey } from '@abaton/verify';
import { errorOf } from '../../errors.ts';

export interface Witness {
  vkey: Vkey;
  /** Submission prefix (C2SP tlog-witness) at which it is asked; null: it comes to us. */
  url: string | null;
}

export interface WitnessSet {
  witnesses: readonly Witness[];
  /** How many of them must have cosigned; 0 without witnesses. */
  quorum: number;
}

/** As in the manifest. */
export interface WitnessesOfManifest {
  witnesses?: readonly { url?: string; vkey: string }[];
  witness_quorum?: number;
}

/**
 * With k of n, 2k − n witnesses have seen both of any two trees that were cosigned: so k is more than half. Throws
 * MANIFEST_INVALID for fewer, for more than there are, for a key that signs no cosignatures, and for one that is given twice.
 */
export function parseWitnesses(manifest: WitnessesOfManifest): WitnessSet {
  const witnesses = (manifest.witnesses ?? []).map(({ vkey, url = null }) => ({ vkey: parseKey(vkey), url }));
  const count = witnesses.length;
  const { witness_quorum: quorum = count === 0 ? 0 : Math.floor(count / 2) + 1 } = manifest;
  const keys = new Set(witnesses.map(({ vkey }) => Buffer.from(vkey.publicKey).toString('hex')));
  if (keys.size < count) throw invalid('a witness is named twice: it would count twice');
  if (quorum > count || 2 * quorum <= count)
    if (count > 0 || quorum > 0) throw invalid(`witness_quorum must be more than half of ${count}, and no more`);
  return { witnesses, quorum };
}

function parseKey(text: string): Vkey {
  let vkey: Vkey;
  try {
    vkey = parseVkey(text);
  } catch (cause) {
    throw invalid('the vkey of a witness is no usable verifier key', cause);
  }
  if (vkey.type !== ED25519_COSIGNATURE_TYPE && vkey.type !== ML_DSA_44_TYPE)
    throw invalid('the vkey of a witness must be one of cosignatures (type 0x04 or 0x06)');
  return vkey;
}

const invalid = (why: string, cause?: unknown) => errorOf('MANIFEST_INVALID', `witnesses: ${why}.`, { cause });
