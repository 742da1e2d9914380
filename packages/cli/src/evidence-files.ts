/** Reads evidence from files, in the forms in which people have it: binary, hex, JSON of other tools. Judges nothing. */
import { ConfigurationError, type EvidenceFiles, parseEvidence, VerificationError } from '@abaton/verify';
import { readBytes, readJson, readText, unusable } from './read-file.ts';

export interface EvidenceFileFlags {
  evidence?: string;
  quote?: string;
  collateral?: string;
  eventLog?: string;
  appCompose?: string;
  snpReport?: string;
  certs?: string[];
  crl?: string;
  mrConfig?: string;
  gpuEvidence?: string;
  gpuNonce?: string;
  rim?: string[];
  ocsp?: string[];
}

/** Which files belong to which: others would be left unread without a word. */
const BELONGS_TO: Partial<Record<keyof EvidenceFileFlags, (keyof EvidenceFileFlags)[]>> = {
  collateral: ['quote'],
  eventLog: ['quote'],
  appCompose: ['quote', 'snpReport'],
  certs: ['snpReport'],
  crl: ['snpReport'],
  mrConfig: ['snpReport'],
  gpuNonce: ['gpuEvidence', 'evidence'],
  ocsp: ['gpuEvidence', 'evidence'],
};

/** What the flags name. Throws USAGE for a file that cannot be read, is in no known form, or belongs to nothing. */
export function readEvidenceFiles(flags: EvidenceFileFlags): EvidenceFiles {
  for (const [name, subjects] of Object.entries(BELONGS_TO) as [keyof EvidenceFileFlags, (keyof EvidenceFileFlags)[]][])
    if (flags[name] !== undefined && subjects.every((subject) => flags[subject] === undefined))
      throw new ConfigurationError('USAGE', `${flagOf(name)} belongs to ${subjects.map(flagOf).join(' or ')}.`);
  if (flags.gpuNonce !== undefined && !/^[0-9a-f]{64}$/i.test(flags.gpuNonce))
    throw new ConfigurationError('USAGE', '--gpu-nonce must be 64 hex digits.');
  return {
    ...(flags.evidence && filesOf(flags.evidence)),
    ...(flags.quote && { quote: readBinary(flags.quote, 'quote') }),
    ...(flags.collateral && { collateral: readJson(flags.collateral) }),
    ...(flags.eventLog && { eventLog: readEventLog(flags.eventLog) }),
    ...(flags.appCompose && { appCompose: readText(flags.appCompose) }),
    ...(flags.snpReport && { snpReport: readBinary(flags.snpReport, 'report') }),
    ...(flags.certs && { certificates: readPem(flags.certs) }),
    ...(flags.crl && { crl: readBinary(flags.crl, 'crl') }),
    ...(flags.mrConfig && { mrConfig: readText(flags.mrConfig) }),
    ...(flags.gpuEvidence && { gpuEvidence: readJson(flags.gpuEvidence) }),
    ...(flags.gpuNonce && { gpuNonce: flags.gpuNonce.toLowerCase() }),
    ...(flags.rim && { rims: flags.rim.map(readRim) }),
    ...(flags.ocsp && { ocspResponses: flags.ocsp.map((file) => readBinary(file, 'response')) }),
  };
}

/** eventLog → --event-log */
export const flagOf = (name: string): string => `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

/** The document that a service hands out, as `--save` keeps it, taken apart. Its nonce and channel are gone. */
function filesOf(file: string): EvidenceFiles {
  try {
    const { gpu, appCompose, ...evidence } = parseEvidence(readJson(file));
    const bytes = (hex: string) => Buffer.from(hex, 'hex');
    return {
      appCompose,
      ...(gpu && { gpuEvidence: gpu.evidence, rims: gpu.rims, ocspResponses: gpu.ocspResponses.map(bytes) }),
      ...(evidence.teeType === 'intel-tdx'
        ? {
            quote: bytes(evidence.quote),
            eventLog: evidence.eventLog,
            ...(evidence.collateral && { collateral: evidence.collateral }),
          }
        : {
            snpReport: bytes(evidence.report),
            certificates: evidence.certificates,
            mrConfig: evidence.mrConfig,
            ...(evidence.crl && { crl: bytes(evidence.crl) }),
          }),
    };
  } catch (cause) {
    if (cause instanceof VerificationError) return unusable(file, `is no evidence document: ${cause.seen}`, cause);
    throw cause;
  }
}

const isHex = (text: string): boolean => text.length > 0 && text.length % 2 === 0 && !/[^0-9a-fA-F]/.test(text);

/** Binary; or hex; or JSON: a list of byte values, or an answer of a guest agent with `member` in hex. */
function readBinary(file: string, member: string): Uint8Array {
  const bytes = readBytes(file);
  const [first] = bytes;
  if (first === 0x5b || first === 0x7b) return bytesOfJson(file, member); // [ or {
  const text = bytes.toString('latin1').replace(/\s/g, ''); // in lines, as xxd -p writes it
  return isHex(text) ? Buffer.from(text, 'hex') : bytes;
}

function bytesOfJson(file: string, member: string): Uint8Array {
  const json = readJson(file);
  if (Array.isArray(json) && json.every((value) => Number.isInteger(value) && value >= 0 && value <= 0xff))
    return Uint8Array.from(json);
  const hex = (json as Record<string, unknown>)[member];
  if (typeof hex === 'string' && isHex(hex)) return Buffer.from(hex, 'hex');
  return unusable(file, `is JSON, but neither a list of bytes nor an object with ${member} in hex`);
}

/** dstack's list; or a document that carries it as `event_log`, which may be JSON in JSON. */
function readEventLog(file: string): unknown {
  const json = readJson(file);
  const log = Array.isArray(json) ? json : (json as { event_log?: unknown } | null)?.event_log;
  if (typeof log !== 'string') return log ?? unusable(file, 'holds no event_log');
  try {
    return JSON.parse(log);
  } catch (cause) {
    return unusable(file, 'has an event_log that is not JSON', cause);
  }
}

/** Certificates of all files in their order, rewritten in the one form that the verifier takes. */
function readPem(files: readonly string[]): string {
  const blocks = files.flatMap((file) => {
    const found = [
      ...readText(file).matchAll(/-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/g),
    ];
    return found.length > 0
      ? found.map(([, body]) => body!.replace(/\s/g, ''))
      : unusable(file, 'holds no certificate in PEM');
  });
  return blocks
    .map((body) => `-----BEGIN CERTIFICATE-----\n${body.replace(/.{1,64}/g, '$&\n')}-----END CERTIFICATE-----\n`)
    .join('');
}

/** XML; or the answer of NVIDIA's RIM service, which carries it as base64. */
function readRim(file: string): string {
  const text = readText(file);
  if (!text.startsWith('{')) return text;
  const { rim } = readJson(file) as { rim?: unknown };
  if (typeof rim !== 'string') return unusable(file, 'is JSON without rim');
  const bytes = Buffer.from(rim, 'base64');
  return bytes.toString('base64') === rim ? bytes.toString('utf8') : unusable(file, 'has a rim that is not base64');
}
