/** TDX quotes of version 4 with the quoting enclave behind them (Intel TDX DCAP Quote Generation Library, appendix 3). */
import { randomBytes } from 'node:crypto';
import { hash, measurementOf } from './event-log.ts';
import { type Pki, PLATFORM, p256KeyPair, pem, signRaw } from './pki.ts';

/** What a TD is made of, as its report states it. */
export interface TrustDomain {
  /** 48 bytes each */
  mrtd: Buffer;
  mrConfigId: Buffer;
  /** four of 48 bytes */
  rtmrs: Buffer[];
  debug: boolean;
}

/** Returns a quote over 64 bytes of report data. */
type QuoteTd = (td: TrustDomain, reportData: Uint8Array) => Promise<Buffer<ArrayBuffer>>;

/**
 * TEE_TCB_SVN: module SVN 11, module version 1 (so that TDX_01 of the TCB info applies), microcode 4; the values of
 * real quotes of 2026.
 */
export const TEE_TCB_SVN = Buffer.from('0b010400000000000000000000000000', 'hex');

/** Identity of the simulated TD quoting enclave; `collateral.ts` publishes it. */
export const TD_QE = {
  mrSigner: hash('sha256', measurementOf('TD QE signer')),
  attributes: Buffer.from('11000000000000000000000000000000', 'hex'), // INIT, PROVISION_KEY
  isvProdId: 2,
  isvSvn: 4,
};

/** 939a7233-f79c-4ca9-940a-0db3957f0607: without it no verifier reads the quote. */
const INTEL_QE_VENDOR_ID = Buffer.from('939a7233f79c4ca9940a0db3957f0607', 'hex');
const TEE_TYPE_TDX = 0x81;
const KEY_TYPE_ECDSA_P256 = 2;
const CERTIFICATION_PCK_CHAIN = 5;
const CERTIFICATION_QE_REPORT = 6;
/** SEPT_VE_DISABLE: bit 28 of TDATTRIBUTES. */
const SEPT_VE_DISABLE = 0x10;
/** The extended features of real dstack quotes. */
const XFAM = Buffer.from('e702060000000000', 'hex');

const u16 = (value: number): Buffer => Buffer.from([value & 0xff, value >> 8]);
const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const zeros = (length: number): Buffer => Buffer.alloc(length);

/** Boots a quoting enclave: a new attestation key, certified by a QE report that the PCK signs. */
export async function bootQuotingEnclave(qeId: Buffer, pki: Pki): Promise<QuoteTd> {
  const attestation = await p256KeyPair(randomBytes(48));
  const publicKey = Buffer.from(await crypto.subtle.exportKey('raw', attestation.publicKey)).subarray(1);
  const qeAuthData = Buffer.from(Array.from({ length: 32 }, (_, i) => i)); // as Intel's QE fills it
  // offset, length: 0 CPUSVN, 48 ATTRIBUTES, 64 MRENCLAVE, 128 MRSIGNER, 256 ISVPRODID, 258 ISVSVN, 320 REPORTDATA
  const qeReport = zeros(384);
  PLATFORM.cpuSvn.copy(qeReport, 0);
  TD_QE.attributes.copy(qeReport, 48);
  hash('sha256', measurementOf('TD QE')).copy(qeReport, 64);
  TD_QE.mrSigner.copy(qeReport, 128);
  qeReport.writeUInt16LE(TD_QE.isvProdId, 256);
  qeReport.writeUInt16LE(TD_QE.isvSvn, 258);
  hash('sha256', publicKey, qeAuthData).copy(qeReport, 320);
  const chain = Buffer.from([pki.pck, pki.pckCa, pki.root].map(({ certificate }) => pem(certificate)).join(''));
  const certification = Buffer.concat([
    qeReport,
    await signRaw(pki.pck.keys, qeReport),
    u16(qeAuthData.length),
    qeAuthData,
    u16(CERTIFICATION_PCK_CHAIN),
    u32(chain.length),
    chain,
  ]);
  const userData = Buffer.concat([qeId, zeros(4)]);

  return async (td, reportData) => {
    const signed = Buffer.concat([
      // header, 48 bytes
      u16(4),
      u16(KEY_TYPE_ECDSA_P256),
      u32(TEE_TYPE_TDX),
      zeros(4),
      INTEL_QE_VENDOR_ID,
      userData,
      // TD report 1.0, 584 bytes
      TEE_TCB_SVN,
      measurementOf('TDX module'), // MRSEAM
      zeros(48), // MRSIGNERSEAM: zero for the module of the processor's vendor
      zeros(8), // SEAMATTRIBUTES
      Buffer.from([td.debug ? 1 : 0, 0, 0, SEPT_VE_DISABLE, 0, 0, 0, 0]), // TDATTRIBUTES
      XFAM,
      td.mrtd,
      td.mrConfigId,
      zeros(48), // MROWNER
      zeros(48), // MROWNERCONFIG
      ...td.rtmrs,
      reportData,
    ]);
    const signature = Buffer.concat([
      await signRaw(attestation, signed),
      publicKey,
      u16(CERTIFICATION_QE_REPORT),
      u32(certification.length),
      certification,
    ]);
    return Buffer.concat([signed, u32(signature.length), signature]);
  };
}
