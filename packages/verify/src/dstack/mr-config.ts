/**
 * What the host configured before the guest started, and the platform reports: MRCONFIGID under TDX, HOST_DATA under
 * SEV-SNP. dstack puts the identity of the application there (dstack-types, mr_config.rs), in one of three forms:
 *
 *   V1  01 ‖ code hash ‖ zeros
 *   V2  02 ‖ Keccak-256(code hash ‖ app id ‖ kind of key provider (1) ‖ its id) ‖ zeros
 *   V3  03 ‖ SHA-256("dstack-mr-config-v3:" ‖ 00 ‖ document) ‖ zeros; in HOST_DATA the digest alone
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { keccak_256 } from '@noble/hashes/sha3.js';
import { reading, refuse } from '../errors.ts';
import { bytesToHex, concatBytes, equalBytes, hexToBytes, isZero, utf8ToBytes } from '../formats/bytes.ts';
import { hex, object, oneOf, optional, parseJson } from '../formats/schema.ts';

export interface AppIdentity {
  /** All in hex. */
  composeHash: string;
  appId: string;
  keyProvider: { name: string; id: string };
}

/** dstack's names of its key providers, in the order of their numbers. */
const KEY_PROVIDERS = ['none', 'local-sgx', 'kms', 'tpm'] as const;

const document = object({
  version: optional(oneOf(3), 3),
  app_id: hex(20),
  compose_hash: hex(32),
  gpu_policy_hash: optional(hex(32), ''),
  key_provider: oneOf('none', 'local', 'kms', 'tpm'),
  key_provider_id: optional(hex(0, 1024), ''),
  instance_id: optional(hex(0, 20), ''),
});

function parseMrConfigV3(text: string): AppIdentity {
  const parsed = document(parseJson(text), 'mr_config');
  const name = parsed.key_provider === 'local' ? 'local-sgx' : parsed.key_provider;
  return {
    composeHash: parsed.compose_hash,
    appId: parsed.app_id,
    keyProvider: { name, id: parsed.key_provider_id },
  };
}

/** Digest of a MrConfigV3 document, of its text exactly as it came. 32 bytes. */
const digestOf = (text: string): Uint8Array =>
  sha256(concatBytes(utf8ToBytes('dstack-mr-config-v3:'), Uint8Array.of(0), utf8ToBytes(text)));

/**
 * The identity behind HOST_DATA of SEV-SNP. The host chooses HOST_DATA: that the guest runs what it names, only the OS image
 * can enforce, which is why its launch measurement has to be listed (os-image.ts). Throws MR_CONFIG_MISMATCH.
 */
export function verifyHostData(hostData: Uint8Array, text: string): AppIdentity {
  const expected = digestOf(text);
  if (!equalBytes(hostData, expected))
    refuse('MR_CONFIG_MISMATCH', `HOST_DATA ${bytesToHex(expected)}`, bytesToHex(hostData));
  return reading('MR_CONFIG_MISMATCH', 'MrConfigV3 document', () => parseMrConfigV3(text));
}

/**
 * Throws MR_CONFIG_MISMATCH unless MRCONFIGID agrees with what the guest measured. Zeros say nothing (dstack before
 * 0.5.4), nor does V3 without its document, which dstack's TDX evidence does not carry: RTMR3 then says it alone.
 */
export function verifyMrConfigId(mrConfigId: Uint8Array, app: AppIdentity): string {
  const [form, digest, rest] = [mrConfigId[0]!, mrConfigId.subarray(1, 33), mrConfigId.subarray(33)];
  const expected = expectedDigest(form, app);
  const nothing = form === 0 && isZero(mrConfigId);
  const unread = form === 3 && isZero(rest);
  if (expected === null ? !nothing && !unread : !equalBytes(digest, expected) || !isZero(rest))
    refuse(
      'MR_CONFIG_MISMATCH',
      expected ? `MRCONFIGID 0${form}${bytesToHex(expected)}` : 'MRCONFIGID of a known form',
      bytesToHex(mrConfigId),
    );
  return expected ? `MRCONFIGID of form V${form}` : 'MRCONFIGID says nothing';
}

function expectedDigest(form: number, { composeHash, appId, keyProvider }: AppIdentity): Uint8Array | null {
  if (form === 1) return hexToBytes(composeHash);
  if (form !== 2) return null;
  const kind = KEY_PROVIDERS.indexOf(keyProvider.name as (typeof KEY_PROVIDERS)[number]);
  if (kind < 0) return refuse('MR_CONFIG_MISMATCH', KEY_PROVIDERS.join(' or '), `key provider ${keyProvider.name}`);
  const id = reading('MR_CONFIG_MISMATCH', 'key provider', () => hex(0, 1024)(keyProvider.id, 'id'));
  const parts = [hexToBytes(composeHash), hexToBytes(appId), Uint8Array.of(kind), hexToBytes(id)];
  return keccak_256(concatBytes(...parts));
}
