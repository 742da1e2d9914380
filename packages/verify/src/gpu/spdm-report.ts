/**
 * Attestation report of an NVIDIA GPU or NVSwitch: an SPDM 1.1 exchange (DMTF DSP0274, GET_MEASUREMENTS and MEASUREMENTS),
 * request and response in one. Integers are little-endian. Field numbers of the opaque data: NVIDIA's attestation SDK.
 *
 *   offset  bytes  request
 *        0      4  11 (version 1.1), e0 (GET_MEASUREMENTS), two parameters
 *        4     32  nonce, chosen by whoever asks
 *       36      1  slot of the certificate chain
 *                  response
 *       37      4  11, 60 (MEASUREMENTS), two parameters
 *       41      1  number of measurement blocks
 *       42      3  length n of the measurement record
 *       45      n  blocks: index (1), specification (1: DMTF), size (2), type (1), size of the value (2), value
 *     45+n     32  nonce of the responder
 *     77+n      2  length m of the opaque data
 *     79+n      m  fields: type (2), size (2), value
 *   79+n+m     96  signature r‖s of all before it, ECDSA on P-384 with SHA-384
 */
import { reading, refuse } from '../errors.ts';
import { ByteReader, bytesToHex, malformed } from '../formats/bytes.ts';
import type { GpuArchitecture } from '../policy.ts';

export interface SpdmReport {
  arch: GpuArchitecture;
  nonce: Uint8Array;
  /** By the index that RIMs use, which counts from 0 where SPDM counts from 1. */
  measurements: ReadonlyMap<number, Uint8Array>;
  /** Fields of the opaque data by their number. */
  opaque: ReadonlyMap<number, Uint8Array>;
  /** As NVIDIA writes it, 580.159.03. Null: a switch. */
  driverVersion: string | null;
  /** 96.00.74.00.20 */
  vbiosVersion: string;
  /** Under which NVIDIA's RIM service keeps the reference measurements; null for a switch. */
  driverRimId: string | null;
  vbiosRimId: string;
  /** Digest of the firmware to which the key of the device was bound, 48 bytes; null when the report does not say. */
  firmwareId: Uint8Array | null;
  /** The decoder NVDEC0 is off: its measurement then says nothing. */
  nvdec0Off: boolean;
  signed: Uint8Array;
  signature: Uint8Array;
}

const SIGNATURE_BYTES = 96;
const VERSION_1_1 = 0x11;
const GET_MEASUREMENTS = 0xe0;
const MEASUREMENTS = 0x60;
const DMTF = 1;
const OPAQUE = {
  DRIVER_VERSION: 3,
  VBIOS_VERSION: 6,
  NVDEC0_STATUS: 11,
  CHIP_SKU: 15,
  PROJECT: 17,
  PROJECT_SKU: 18,
  FWID: 20,
  VERSION: 34,
  CHIP_INFO: 35,
  INVALID: 255, // padding, may repeat
} as const;
const NVDEC0_OFF = 0x55;
const OPAQUE_VERSION = 2; // the highest that NVIDIA's SDK reads; reports without the field came before it
const FWID_BYTES = 48;
const TEXT_BYTES = 64; // [14]
/** Begins the format that follows this one, whose fields have a third number each. */
const NVDAOD = [...'NVDAOD'].map((char) => char.charCodeAt(0));

/** Throws GPU_EVIDENCE_MALFORMED or GPU_EVIDENCE_UNSUPPORTED. Verifies nothing. */
export const parseSpdmReport = (bytes: Uint8Array, arch: GpuArchitecture): SpdmReport =>
  reading('GPU_EVIDENCE_MALFORMED', 'SPDM report', () => {
    const reader = new ByteReader(bytes);
    parseHeader(reader, GET_MEASUREMENTS);
    const nonce = reader.take(32);
    reader.take(1);
    parseHeader(reader, MEASUREMENTS);
    const blocks = reader.uint(1) || malformed('report has no measurement');
    const measurements = parseBlocks(new ByteReader(reader.take(reader.uint(3))), blocks);
    reader.take(32);
    const opaque = parseOpaque(reader.take(reader.uint(2)));
    const signed = bytes.subarray(0, reader.offset);
    const signature = reader.take(SIGNATURE_BYTES);
    if (reader.left > 0) malformed('bytes follow the signature');
    return { arch, nonce, measurements, opaque, ...describe(opaque, arch), signed, signature };
  });

function parseHeader(reader: ByteReader, code: number): void {
  const [version, seen] = reader.take(4);
  if (version !== VERSION_1_1) refuse('GPU_EVIDENCE_UNSUPPORTED', 'SPDM version 11', `${version?.toString(16)}`);
  if (seen !== code) malformed(`SPDM code ${code.toString(16)} expected, ${seen?.toString(16)} seen`);
}

function parseBlocks(record: ByteReader, count: number): Map<number, Uint8Array> {
  const measurements = new Map<number, Uint8Array>();
  for (let left = count; left > 0; left--) {
    const index = record.uint(1) - 1;
    if (index < 0 || measurements.has(index)) malformed('measurement index is zero, or occurs twice');
    if (record.uint(1) !== DMTF) malformed('measurement is not of the DMTF specification');
    const block = new ByteReader(record.take(record.uint(2)));
    block.take(1); // what was measured: the reference measurements say it too
    measurements.set(index, block.take(block.uint(2)));
    if (block.left > 0) malformed('bytes follow a measurement');
  }
  if (record.left > 0) malformed('bytes follow the measurements');
  return measurements;
}

function parseOpaque(bytes: Uint8Array): Map<number, Uint8Array> {
  if (NVDAOD.every((char, at) => bytes[at] === char))
    refuse('GPU_EVIDENCE_UNSUPPORTED', 'opaque data in fields of type, size and value', 'NVDAOD');
  const reader = new ByteReader(bytes);
  const fields = new Map<number, Uint8Array>();
  while (reader.left > 0) {
    const type = reader.uint(2);
    const value = reader.take(reader.uint(2));
    if (type === OPAQUE.INVALID) continue;
    if (fields.has(type)) malformed(`opaque field ${type} occurs twice`);
    fields.set(type, value);
  }
  const [version = 0, ...higher] = fields.get(OPAQUE.VERSION) ?? [];
  if (version > OPAQUE_VERSION || higher.some((byte) => byte > 0))
    refuse('GPU_EVIDENCE_UNSUPPORTED', `opaque data of version ${OPAQUE_VERSION} at most`, `${version}`);
  return fields;
}

type Description = Omit<SpdmReport, 'arch' | 'nonce' | 'measurements' | 'opaque' | 'signed' | 'signature'>;

/** The RIM ids are those of NVIDIA's SDK, which asks its RIM service for them. */
function describe(opaque: ReadonlyMap<number, Uint8Array>, arch: GpuArchitecture): Description {
  const needed = (type: number) => opaque.get(type) ?? malformed(`opaque field ${type} is absent`);
  const words = (type: number) => textOf(needed(type));
  const vbios = needed(OPAQUE.VBIOS_VERSION);
  const firmwareId = opaque.get(OPAQUE.FWID) ?? null;
  if (firmwareId && firmwareId.length !== FWID_BYTES) malformed(`firmware id of ${firmwareId.length} bytes`);
  if (arch === 'LS10') {
    const vbiosVersion = textOf(vbios);
    // Project, project SKU and chip SKU of the one NVSwitch there is; its reports do not carry them.
    const vbiosRimId = `NV_SWITCH_BIOS_5612_0002_890_${vbiosVersion.replaceAll('.', '')}`;
    return { driverVersion: null, driverRimId: null, vbiosVersion, vbiosRimId, firmwareId, nvdec0Off: false };
  }
  const vbiosVersion = parseVbiosVersion(vbios);
  const driverVersion = words(OPAQUE.DRIVER_VERSION);
  const board = [OPAQUE.PROJECT, OPAQUE.PROJECT_SKU, OPAQUE.CHIP_SKU].map(words).join('_');
  return {
    driverVersion,
    vbiosVersion,
    driverRimId:
      arch === 'HOPPER'
        ? `NV_GPU_DRIVER_GH100_${driverVersion}`
        : `NV_GPU_CC_DRIVER_${opaque.has(OPAQUE.CHIP_INFO) ? words(OPAQUE.CHIP_INFO) : 'GB100'}_${driverVersion}`,
    vbiosRimId: `NV_GPU_VBIOS_${board}_${vbiosVersion.replaceAll('.', '')}`.toUpperCase(),
    firmwareId,
    nvdec0Off: opaque.get(OPAQUE.NVDEC0_STATUS)?.[0] === NVDEC0_OFF,
  };
}

/** Printable ASCII, padded with zeros. */
function textOf(bytes: Uint8Array): string {
  if (bytes.length > TEXT_BYTES) malformed(`opaque field with a text of ${bytes.length} bytes`);
  const text = String.fromCharCode(...bytes).replace(/\0+$/, '');
  return /^[\x21-\x7e]+$/.test(text) ? text : malformed('opaque field is not text');
}

/** Two little-endian words of 32 bits: 00740096 20000000 is 96.00.74.00.20; of the second only the lowest byte counts. */
function parseVbiosVersion(bytes: Uint8Array): string {
  if (bytes.length !== 8) return malformed(`VBIOS version of ${bytes.length} bytes`);
  const [b0, b1, b2, b3, b4] = Array.from(bytes, (byte) => bytesToHex(Uint8Array.of(byte)).toUpperCase());
  return [b3, b2, b1, b0, b4].join('.');
}
