/**
 * AMD SEV-SNP attestation report, versions 2 to 5 (SEV Secure Nested Paging Firmware ABI Specification, 56860, table
 * "ATTESTATION_REPORT"). 1184 bytes, little-endian; SVN: security version number. What no line names is zero.
 *
 *   offset  bytes                                offset  bytes
 *      000      4 version                           0c0     32 HOST_DATA, set by the host at launch
 *      004      4 SVN of the guest                  0e0    160 digests of id keys, report ids
 *      008      8 guest policy                      180      8 TCB that the signing key certifies
 *      010     32 family and image id               188      3 CPUID family, model, stepping (version 3 on)
 *      030      4 VMPL                              1a0     64 chip id; zeros when the host masks it
 *      034      4 signature algorithm               1e0      8 TCB below which the firmware cannot go back
 *      038      8 TCB that runs now                 1e8      3 firmware version that runs now
 *      040      8 platform information              1ec      3 firmware version, committed
 *      048      4 which key signs                   1f0      8 TCB at launch
 *      050     64 REPORT_DATA, set by the guest     1f8     16 mitigations (version 5)
 *      090     48 launch measurement                2a0    144 signature: r, s, each little-endian
 */
import { reading, refuse } from '../errors.ts';
import { ByteReader, concatBytes, isZero, malformed } from '../formats/bytes.ts';
import type { SnpProduct } from '../policy.ts';

export interface SnpReport {
  version: number;
  /** Guest policy: 64 bits. */
  policy: bigint;
  vmpl: number;
  platformInfo: bigint;
  signingKey: 'VCEK' | 'VLEK';
  reportData: Uint8Array;
  measurement: Uint8Array;
  hostData: Uint8Array;
  /** TCB_VERSIONs, 8 bytes each (snp-tcb.ts): what runs, what the key certifies, what cannot be undone, what launched. */
  currentTcb: Uint8Array;
  reportedTcb: Uint8Array;
  committedTcb: Uint8Array;
  launchTcb: Uint8Array;
  /** Null in version 2, which does not say. */
  product: SnpProduct | null;
  /** 64 bytes; zeros when the host masks it. */
  chipId: Uint8Array;
  signed: Uint8Array;
  /** r‖s, big-endian. */
  signature: Uint8Array;
}

const REPORT_BYTES = 1184;
const SIGNED_BYTES = 0x2a0;
const VERSIONS = { min: 2, max: 5 };
const ECDSA_P384_SHA384 = 1;
const NUMBER_BYTES = 72; // of r and of s; P-384 fills the lower 48
const COORDINATE_BYTES = 48;
// "KEY_INFO": bit 0 an author key is named, bit 1 MASK_CHIP_KEY, bits 4:2 what signs (7: nothing does)
const SIGNING_KEYS = new Map([
  [0, 'VCEK'],
  [1, 'VLEK'],
] as const);
const KEY_INFO_BITS = 5;
/** Bytes that must be zero, from and to. */
const reserved = (version: number): (readonly [from: number, to: number])[] => [
  [0x4c, 0x50],
  [version < 3 ? 0x188 : 0x18b, 0x1a0],
  [0x1eb, 0x1ec],
  [0x1ef, 0x1f0],
  [version < 5 ? 0x1f8 : 0x208, SIGNED_BYTES],
  [SIGNED_BYTES + 2 * NUMBER_BYTES, REPORT_BYTES],
];

/** Throws QUOTE_MALFORMED or QUOTE_UNSUPPORTED. Verifies nothing. */
export const parseSnpReport = (input: Uint8Array): SnpReport =>
  reading('QUOTE_MALFORMED', 'SEV-SNP report', () => {
    const bytes = Uint8Array.from(input); // a Buffer's slice would not copy
    if (bytes.length !== REPORT_BYTES) malformed(`${bytes.length} bytes instead of ${REPORT_BYTES}`);
    const at = (offset: number, length: number) => bytes.subarray(offset, offset + length);
    const uint = (offset: number) => new ByteReader(at(offset, 4)).uint(4);
    const uint64 = (offset: number) => new DataView(bytes.buffer).getBigUint64(offset, true);
    const version = uint(0);
    if (version < VERSIONS.min || version > VERSIONS.max)
      refuse('QUOTE_UNSUPPORTED', `report version ${VERSIONS.min} to ${VERSIONS.max}`, `${version}`);
    const algorithm = uint(0x34);
    if (algorithm !== ECDSA_P384_SHA384)
      refuse('QUOTE_UNSUPPORTED', `signature algorithm ${ECDSA_P384_SHA384}`, `${algorithm}`);
    for (const [from, to] of reserved(version))
      if (!isZero(bytes.subarray(from, to))) malformed(`bytes 0x${from.toString(16)} on are not zero`);
    if (uint(0x48) >>> KEY_INFO_BITS !== 0) malformed('key information has reserved bits');
    const key = (uint(0x48) >>> 2) & 7;
    const signingKey =
      SIGNING_KEYS.get(key as 0 | 1) ?? refuse('QUOTE_UNSUPPORTED', 'signed by VCEK or VLEK', `key ${key}`);
    return {
      ...{ version, policy: uint64(8), vmpl: uint(0x30), platformInfo: uint64(0x40), signingKey },
      ...{ reportData: at(0x50, 64), measurement: at(0x90, 48), hostData: at(0xc0, 32) },
      ...{ currentTcb: at(0x38, 8), reportedTcb: at(0x180, 8), committedTcb: at(0x1e0, 8), launchTcb: at(0x1f0, 8) },
      product: version < 3 ? null : productOf(bytes[0x188]!, bytes[0x189]!),
      chipId: at(0x1a0, 64),
      signed: at(0, SIGNED_BYTES),
      signature: concatBytes(
        coordinate(at(SIGNED_BYTES, NUMBER_BYTES)),
        coordinate(at(SIGNED_BYTES + NUMBER_BYTES, NUMBER_BYTES)),
      ),
    };
  });

function coordinate(littleEndian: Uint8Array): Uint8Array {
  if (!isZero(littleEndian.subarray(COORDINATE_BYTES))) malformed('signature: number above the order of P-384');
  return littleEndian.slice(0, COORDINATE_BYTES).reverse();
}

/** By CPUID family and model: 19h with models 0xh Milan, 1xh and Axh (Siena, Bergamo) Genoa; 1Ah with 0xh and 1xh Turin. */
function productOf(family: number, model: number): SnpProduct {
  if (family === 0x1a && model <= 0x1f) return 'Turin';
  const group = family === 0x19 ? model >> 4 : -1;
  if (group === 0) return 'Milan';
  if (group === 1 || group === 0xa) return 'Genoa';
  return refuse(
    'QUOTE_UNSUPPORTED',
    'Milan, Genoa or Turin',
    `CPUID family ${family.toString(16)}, model ${model.toString(16)}`,
  );
}
