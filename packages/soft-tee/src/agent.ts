/** The guest agent: dstack's frozen v0 surface (guest-agent/rpc/proto/agent_rpc.proto), as far as TDX goes. */
import type { IncomingMessage, RequestListener } from 'node:http';
import { encodeAttestation } from './attestation.ts';
import { jsonAnswer, listener, orRefuse, parseObject, RequestError, readBody } from './http.ts';
import { parseAlgorithm } from './kms.ts';
import type { Platform } from './platform.ts';
import { issueTlsKey } from './ra-tls.ts';

const refuse = (name: string, expected: string): never => {
  throw new RequestError(400, `${name} must be ${expected}`);
};
/** Latest moment that X.509 can state: 9999-12-31T23:59:59Z. */
const MAX_SECONDS = 253_402_300_799;

/** Fields by kind, each with protobuf's default. Queries carry texts only: '1700000000', 'true', repeated names. */
const FIELDS = {
  text: (value: unknown = '', name: string): string =>
    typeof value === 'string' && value.length <= 4096 ? value : refuse(name, 'text of at most 4096 characters'),
  names: (value: unknown = [], name: string): string[] => {
    const list = typeof value === 'string' ? [value] : value;
    const ok = Array.isArray(list) && list.length <= 100 && list.every((v) => /^[!-~]{1,255}$/.test(v));
    return ok ? list.map(String) : refuse(name, 'at most 100 names of at most 255 ASCII characters');
  },
  hex: (value: unknown = '', name: string): Buffer =>
    typeof value === 'string' && /^(?:[0-9a-f]{2})*$/i.test(value) ? Buffer.from(value, 'hex') : refuse(name, 'hex'),
  flag: (value: unknown = false, name: string): boolean => {
    const flag = value === 'true' ? true : value === 'false' ? false : value;
    return typeof flag === 'boolean' ? flag : refuse(name, 'true or false');
  },
  date: (value: unknown, name: string): Date | undefined => {
    if (value === undefined || value === null) return undefined;
    const seconds = typeof value === 'string' && /^\d{1,12}$/.test(value) ? Number(value) : value;
    return Number.isInteger(seconds) && (seconds as number) >= 0 && (seconds as number) <= MAX_SECONDS
      ? new Date((seconds as number) * 1000)
      : refuse(name, 'seconds since 1970');
  },
};
type Fields = Record<string, keyof typeof FIELDS>;
type Arguments<F extends Fields> = { [N in keyof F]: ReturnType<(typeof FIELDS)[F[N]]> };
type Method = (platform: Platform, input: Record<string, unknown>) => unknown;

/** A method that takes exactly these fields. */
const method =
  <F extends Fields>(fields: F, call: (platform: Platform, args: Arguments<F>) => unknown): Method =>
  (platform, input) => {
    const unknownName = Object.keys(input).find((name) => !Object.hasOwn(fields, name));
    if (unknownName !== undefined) throw new RequestError(400, `Unknown field ${unknownName.slice(0, 64)}`);
    const args = Object.entries(fields).map(([name, kind]) => [name, FIELDS[kind](input[name], name)]);
    return call(platform, Object.fromEntries(args) as Arguments<F>);
  };

function padReportData(data: Buffer): Buffer {
  if (data.length > 64) throw new RequestError(400, 'Report data is too long');
  return Buffer.concat([data, Buffer.alloc(64 - data.length)]);
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

const METHODS: Record<string, Method> = {
  Info: method({}, async (platform) => {
    const demo = { subject: 'demo-cert', usage_ra_tls: true, usage_client_auth: true };
    return { ...platform.info, app_cert: (await issueTlsKey(platform, demo)).certificate_chain.join('') };
  }),
  Version: method({}, () => ({ version: '0.6.0-simulated', rev: 'simulated' })),
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
  GetQuote: method({ report_data: 'hex' }, async (platform, args) => {
    const reportData = padReportData(args.report_data);
    return {
      quote: hex(await platform.quote(reportData)),
      event_log: JSON.stringify(platform.eventLog),
      report_data: hex(reportData),
      vm_config: platform.vmConfig,
    };
  }),
  Attest: method({ report_data: 'hex' }, async (platform, args) => {
    const reportData = padReportData(args.report_data);
    const quote = await platform.quote(reportData);
    return { attestation: hex(encodeAttestation(quote, platform.eventLog, reportData, platform.vmConfig, false)) };
  }),
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

async function inputOf(request: IncomingMessage, query: URLSearchParams): Promise<Record<string, unknown>> {
  if (request.method === 'POST') {
    const body = await readBody(request);
    return body === '' ? {} : parseObject(body);
  }
  if (request.method !== 'GET') throw new RequestError(405, 'Only GET and POST');
  const names = [...new Set(query.keys())];
  return Object.fromEntries(
    names.map((name) => [name, query.getAll(name).length === 1 ? query.get(name) : query.getAll(name)]),
  );
}

/** Serves `/<Method>` and `/prpc/[DstackGuest.]<Method>`. As with dstack, every refusal is 400 and `{ error }`. */
export const agentListener = (platform: () => Platform): RequestListener =>
  listener(async (request, { pathname, searchParams }) => {
    if (platform().conditions.agentDown) throw new RequestError(503, 'Service unavailable');
    const name = /^\/(?:prpc\/(?:DstackGuest\.)?)?(\w+)$/.exec(pathname)?.[1];
    if (name === undefined || !Object.hasOwn(METHODS, name)) throw new RequestError(400, 'No such method');
    return jsonAnswer(await METHODS[name]!(platform(), await inputOf(request, searchParams)));
  });
