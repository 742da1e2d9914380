/**
 * Key configurations of Oblivious HTTP (RFC 9458 section 3), in the list form `application/ohttp-keys`:
 *
 * ```
 * list     { length (16), configuration } ...
 * configuration
 *   0      key identifier (8)
 *   1      KEM (16)
 *   3      public key, Npk bytes of that KEM
 *   3+Npk  length of what follows (16)
 *   5+Npk  { KDF (16), AEAD (16) } ...
 * ```
 */
import { AEAD_AES_256_GCM, HKDF_SHA256, type KemId, kemOf } from './hpke-context.ts';
import { concat, invalid } from './stream-reader.ts';

export interface KeyConfig {
  /** 0 to 255. */
  keyId: number;
  kemId: KemId;
  publicKey: Uint8Array;
  symmetric: { kdfId: number; aeadId: number }[];
}

const uint16 = (value: number): Uint8Array => Uint8Array.of(value >> 8, value);

/** The list, in the order of preference. */
export function formatKeyConfigs(configs: readonly KeyConfig[]): Uint8Array {
  return concat(
    ...configs.flatMap(({ keyId, kemId, publicKey, symmetric }) => {
      const suites = concat(...symmetric.flatMap(({ kdfId, aeadId }) => [uint16(kdfId), uint16(aeadId)]));
      const config = concat(Uint8Array.of(keyId), uint16(kemId), publicKey, uint16(suites.length), suites);
      return [uint16(config.length), config];
    }),
  );
}

/** Those whose KEM is known here. Throws SEALED_INVALID for a list that does not follow the format. */
export function parseKeyConfigs(list: Uint8Array): KeyConfig[] {
  const configs: KeyConfig[] = [];
  for (let at = 0; at < list.length; ) {
    const length = (list[at] ?? 0) * 256 + (list[at + 1] ?? 0);
    const bytes = list.subarray(at + 2, at + 2 + length);
    if (bytes.length !== length || length < 3) invalid('A list of key configurations is cut off.');
    const config = parseKeyConfig(bytes);
    if (config) configs.push(config);
    at += 2 + length;
  }
  return configs;
}

/** Null for a KEM that is not known here: then nobody can tell where its key ends. */
function parseKeyConfig(bytes: Uint8Array): KeyConfig | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const kemId = view.getUint16(1) as KemId;
  const kem = kemOf(kemId);
  if (!kem) return null;
  const suitesAt = 3 + kem.publicKeySize + 2;
  const suitesBytes = bytes.length >= suitesAt ? view.getUint16(suitesAt - 2) : 0;
  if (suitesBytes === 0 || suitesBytes % 4 !== 0 || bytes.length !== suitesAt + suitesBytes)
    invalid('A key configuration does not have its length.');
  const symmetric: KeyConfig['symmetric'] = [];
  for (let at = suitesAt; at < bytes.length; at += 4)
    symmetric.push({ kdfId: view.getUint16(at), aeadId: view.getUint16(at + 2) });
  return { keyId: bytes[0]!, kemId, publicKey: bytes.subarray(3, suitesAt - 2), symmetric };
}

/** The first that this code can seal to: the server lists the strongest first, and the list is authenticated. */
export function chooseKeyConfig(configs: readonly KeyConfig[]): KeyConfig | null {
  const ours = ({ kdfId, aeadId }: KeyConfig['symmetric'][number]) =>
    kdfId === HKDF_SHA256 && aeadId === AEAD_AES_256_GCM;
  return configs.find(({ symmetric }) => symmetric.some(ours)) ?? null;
}
