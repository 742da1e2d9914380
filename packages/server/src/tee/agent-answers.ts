/** Reads the guest agent's answers: fields that we use, exactly; fields that we do not, not at all. */
import { parseEventLog } from '@abaton/verify';
import { errorOf } from '../errors.ts';
import type { AgentInfo, AgentQuote, TlsKey } from './agent-client.ts';

type Fields = Record<string, unknown>;

const KEY_BYTES = 32; // dstack GetKey
const REGISTER_BYTES = 48; // MRTD, RTMR: SHA-384 (Intel TDX DCAP Quoting Library API, TD report)
const APP_ID_BYTES = 20; // dstack: the first 20 bytes of a compose hash

export function parseInfo(answer: unknown): AgentInfo {
  const info = fields(answer, 'Info');
  const tcb = fields(jsonText(info, 'tcb_info'), 'Info.tcb_info');
  const provider = fields(jsonText(info, 'key_provider_info'), 'Info.key_provider_info');
  const register = (name: string) => hex(tcb, name, REGISTER_BYTES);
  return {
    appId: hex(info, 'app_id', APP_ID_BYTES),
    instanceId: hex(info, 'instance_id'),
    composeHash: hex(tcb, 'compose_hash', 32),
    appCompose: text(tcb, 'app_compose'),
    keyProvider: { name: text(provider, 'name'), id: text(provider, 'id') },
    measurements: {
      mrtd: register('mrtd'),
      rtmr0: register('rtmr0'),
      rtmr1: register('rtmr1'),
      rtmr2: register('rtmr2'),
      rtmr3: register('rtmr3'),
    },
  };
}

export const parseKey = (answer: unknown): Uint8Array =>
  Buffer.from(hex(fields(answer, 'GetKey'), 'key', KEY_BYTES), 'hex');

export function parseTlsKey(answer: unknown): TlsKey {
  const { key, certificate_chain: chain } = fields(answer, 'GetTlsKey');
  const isPem = (value: unknown, label: string) =>
    typeof value === 'string' && value.startsWith(`-----BEGIN ${label}-----`);
  if (
    !isPem(key, 'PRIVATE KEY') ||
    !Array.isArray(chain) ||
    !chain.length ||
    !chain.every((c) => isPem(c, 'CERTIFICATE'))
  )
    throw malformed('GetTlsKey: key or certificate_chain');
  return { keyPem: key as string, chainPem: chain };
}

export function parseQuote(answer: unknown): AgentQuote {
  const quote = fields(answer, 'GetQuote');
  try {
    return { quote: Buffer.from(hex(quote, 'quote'), 'hex'), eventLog: parseEventLog(jsonText(quote, 'event_log')) };
  } catch (cause) {
    throw malformed('GetQuote', cause);
  }
}

export function parseVersion(answer: unknown): { version: string; rev: string } {
  const version = fields(answer, 'Version');
  return { version: text(version, 'version'), rev: text(version, 'rev') };
}

const malformed = (what: string, cause?: unknown) =>
  errorOf('AGENT_UNAVAILABLE', `The guest agent's answer is malformed: ${what}.`, { cause });

function fields(value: unknown, what: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed(what);
  return value as Fields;
}

function text(from: Fields, name: string): string {
  const value = from[name];
  if (typeof value !== 'string') throw malformed(name);
  return value;
}

function hex(from: Fields, name: string, bytes?: number): string {
  const value = text(from, name);
  if (!/^(?:[0-9a-f]{2})*$/.test(value) || (bytes !== undefined && value.length !== 2 * bytes)) throw malformed(name);
  return value;
}

/** dstack puts documents inside its JSON as text. */
function jsonText(from: Fields, name: string): unknown {
  try {
    return JSON.parse(text(from, name));
  } catch {
    throw malformed(name);
  }
}
