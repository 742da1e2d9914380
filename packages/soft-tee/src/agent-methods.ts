/**
 * What guest agents can do, as far as TDX goes: dstack's frozen v0 methods (guest-agent/rpc/proto/agent_rpc.proto), the
 * part of v1 that says something about GPUs (agent_rpc_v1.proto), and tappd's, of before.
 */
import { type Method, method } from './agent-fields.ts';
import { encodeAttestation } from './attestation.ts';
import { hash } from './event-log.ts';
import { orRefuse, RequestError } from './http.ts';
import { parseAlgorithm } from './kms.ts';
import type { Platform } from './platform.ts';
import { issueTlsKey } from './ra-tls.ts';

export type Methods = Record<string, Method>;

function padReportData(data: Buffer): Buffer {
  if (data.length > 64) throw new RequestError(400, 'Report data is too long');
  return Buffer.concat([data, Buffer.alloc(64 - data.length)]);
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

const quoteOf = async (platform: Platform, reportData: Buffer) => ({
  quote: hex(await platform.quote(reportData)),
  event_log: JSON.stringify(platform.eventLog),
  report_data: hex(reportData),
  vm_config: platform.vmConfig,
});

async function attestationOf({ quote, eventLog, vmConfig }: Platform, data: Buffer): Promise<{ attestation: string }> {
  const reportData = padReportData(data);
  return { attestation: hex(encodeAttestation(await quote(reportData), eventLog, reportData, vmConfig, false)) };
}

export const V0: Methods = {
  Info: method({}, async (platform) => {
    const demo = { subject: 'demo-cert', usage_ra_tls: true, usage_client_auth: true };
    return { ...platform.info, app_cert: (await issueTlsKey(platform, demo)).certificate_chain.join('') };
  }),
  GetKey: method({ path: 'text', purpose: 'text', algorithm: 'text' }, (platform, args) => {
    const algorithm = orRefuse(() => parseAlgorithm(args.algorithm));
    if (algorithm === 'secp256k1_prehashed') throw new RequestError(400, 'Unsupported algorithm');
    const { key, signatureChain } = platform.kms.getKey(args.path, args.purpose, algorithm);
    return { key: hex(key), signature_chain: signatureChain.map(hex) };
  }),
  GetTlsKey: method(
    {
      subject: 'text',
      alt_names: 'names',
      usage_ra_tls: 'flag',
      usage_server_auth: 'flag',
      usage_client_auth: 'flag',
      not_before: 'date',
      not_after: 'date',
      with_app_info: 'flag',
    },
    async (platform, args) => {
      if (args.with_app_info) throw new RequestError(400, 'with_app_info is not simulated');
      if (args.not_before && args.not_after && args.not_before >= args.not_after)
        throw new RequestError(400, 'not_before must be earlier than not_after');
      return issueTlsKey(platform, args);
    },
  ),
  GetQuote: method({ report_data: 'hex' }, (platform, args) => quoteOf(platform, padReportData(args.report_data))),
  Attest: method({ report_data: 'hex' }, (platform, args) => attestationOf(platform, args.report_data)),
  Sign: method({ algorithm: 'text', data: 'hex' }, (platform, args) => {
    const signed = orRefuse(() => platform.kms.sign(parseAlgorithm(args.algorithm), args.data));
    return {
      signature: hex(signed.signature),
      signature_chain: signed.signatureChain.map(hex),
      public_key: hex(signed.publicKey),
    };
  }),
  Verify: method(
    { algorithm: 'text', data: 'hex', signature: 'hex', public_key: 'hex' },
    (platform, { algorithm, data, signature, public_key: publicKey }) => ({
      valid: orRefuse(() => platform.kms.verify(parseAlgorithm(algorithm), data, signature, publicKey)),
    }),
  ),
};

/** Since dstack 0.5.7. */
export const VERSION: Methods = { Version: method({}, () => ({ version: '0.6.0-simulated', rev: 'simulated' })) };

/** There is no GPU in this machine, but a record of one can be given to it. */
export const V1: Methods = {
  ...VERSION,
  Attest: method({ report_data: 'hex', include_boottime_gpu_evidence: 'flag' }, async (platform, args) => {
    const { attestation } = await attestationOf(platform, args.report_data);
    const { gpuRecord } = platform;
    const format = 'nvidia-nvattest-boottime-json-v1';
    const bundle = { vendor: 'nvidia', format, evidence: hex(Buffer.from(gpuRecord ?? '')) };
    return { attestation, boottime_gpu_evidence: args.include_boottime_gpu_evidence && gpuRecord ? [bundle] : [] };
  }),
  AttestGpu: method({ nonce: 'hex' }, (_, { nonce }) => {
    if (nonce.length !== 32) throw new RequestError(400, 'nonce must be exactly 32 bytes');
    throw new RequestError(501, 'GPU attestation is not available in this image');
  }),
};

/** tappd's TdxQuote hashes what it is given, unless it is told `raw`. Its DeriveKey is not simulated. */
export const TAPPD: Methods = {
  Info: V0.Info!,
  DeriveK256Key: method({ path: 'text', purpose: 'text' }, (platform, args) => {
    const { key, signatureChain } = platform.kms.getKey(args.path, args.purpose, 'secp256k1');
    return { k256_key: hex(key), k256_signature_chain: signatureChain.map(hex) };
  }),
  TdxQuote: method({ report_data: 'hex', hash_algorithm: 'text', prefix: 'text' }, async (platform, args) => {
    const algorithm = args.hash_algorithm || 'sha512';
    if (algorithm !== 'raw' && algorithm !== 'sha512') throw new RequestError(400, 'hash_algorithm is not simulated');
    const prefix = algorithm === 'raw' ? '' : args.prefix || 'app-data:';
    const reportData = algorithm === 'raw' ? args.report_data : hash('sha512', prefix, args.report_data);
    const { quote, event_log } = await quoteOf(platform, padReportData(reportData));
    return { quote, event_log, hash_algorithm: algorithm, prefix };
  }),
  RawQuote: method({ report_data: 'hex' }, async (platform, args) => {
    const { quote, event_log } = await quoteOf(platform, padReportData(args.report_data));
    return { quote, event_log, hash_algorithm: 'raw', prefix: '' };
  }),
};
