/**
 * Speaks to dstack's guest agent: HTTP/1.1 over a unix socket, `POST /<Method>` with JSON, bytes as lower-case hex
 * (Dstack-TEE/dstack `guest-agent/rpc/proto/agent_rpc.proto`, `sdk/curl/api.md`). The npm SDK is not used: it needs a
 * Content-Length and counts characters as bytes. The agent lies outside the trust boundary until a quote says otherwise,
 * so every answer is parsed strictly and bounded.
 */
import { existsSync } from 'node:fs';
import { request } from 'node:http';
import type { TdxEvent } from '@abaton/verify';
import { errorOf } from '../errors.ts';
import { parseInfo, parseKey, parseQuote, parseTlsKey, parseVersion } from './agent-answers.ts';

/** MRTD and RTMR0-3, 96 hex digits each, as the agent claims them. */
export interface AgentMeasurements {
  mrtd: string;
  rtmr0: string;
  rtmr1: string;
  rtmr2: string;
  rtmr3: string;
}

export interface AgentInfo {
  appId: string;
  instanceId: string;
  /** SHA-256 of `appCompose`, hex, as the agent claims it. */
  composeHash: string;
  /** The raw app_compose text: hashed as it is, never parsed and written again. */
  appCompose: string;
  /** Who hands out this guest's keys: `kms` with the key of its root, `local-sgx` with its measurement. */
  keyProvider: { name: string; id: string };
  measurements: AgentMeasurements;
}

export interface TlsKeyRequest {
  /** Common name. */
  subject: string;
  altNames: readonly string[];
}

export interface TlsKey {
  /** PKCS#8 PEM, P-256. Fresh on every call: never derived, never stored. */
  keyPem: string;
  /** Leaf first, PEM. The leaf carries dstack's RA-TLS extensions. */
  chainPem: string[];
}

export interface AgentQuote {
  quote: Uint8Array;
  eventLog: TdxEvent[];
}

/** Every call throws AGENT_UNAVAILABLE when the agent is absent, late, refuses, or answers something else. */
export interface GuestAgent {
  info(): Promise<AgentInfo>;
  /** 32 bytes that depend on the app and on `path` only: dstack ignores purpose and algorithm in the derivation. */
  getKey(path: string): Promise<Uint8Array>;
  /** A new key and its RA-TLS server certificate. */
  getTlsKey(options: TlsKeyRequest): Promise<TlsKey>;
  /** A quote over exactly these 64 bytes. */
  getQuote(reportData: Uint8Array): Promise<AgentQuote>;
  version(): Promise<{ version: string; rev: string }>;
}

/** Where dstack puts its socket, in the order of its own SDK. */
const SOCKETS = [
  '/var/run/dstack.sock',
  '/run/dstack.sock',
  '/var/run/dstack/dstack.sock',
  '/run/dstack/dstack.sock',
] as const;

const TIMEOUT_MS = 10_000; // a TDX quote takes up to about a second when the host's quoting enclave is busy
const MAX_ANSWER_BYTES = 4 * 2 ** 20; // app_compose is at most 256 kB and an event log about 100 kB, hex and JSON double them

export interface AgentOptions {
  timeoutMs?: number;
}

/** `socket`: path of the agent's socket, or null to try dstack's. The socket may appear later: each call looks anew. */
export function openGuestAgent(socket: string | null, options: AgentOptions = {}): GuestAgent {
  const call = (method: string, body: object) =>
    post(findSocket(socket), method, body, options.timeoutMs ?? TIMEOUT_MS);
  return {
    info: async () => parseInfo(await call('Info', {})),
    getKey: async (path) => parseKey(await call('GetKey', { path, purpose: '', algorithm: 'secp256k1' })),
    getTlsKey: async ({ subject, altNames }) =>
      parseTlsKey(
        await call('GetTlsKey', {
          subject,
          alt_names: altNames,
          usage_ra_tls: true,
          usage_server_auth: true,
          usage_client_auth: false,
        }),
      ),
    getQuote: async (reportData) =>
      parseQuote(await call('GetQuote', { report_data: Buffer.from(reportData).toString('hex') })),
    version: async () => parseVersion(await call('Version', {})),
  };
}

function findSocket(configured: string | null): string {
  const found = configured ?? SOCKETS.find((path) => existsSync(path));
  if (!found) throw errorOf('AGENT_UNAVAILABLE', `No guest agent socket at ${SOCKETS.join(', ')}.`);
  return found;
}

/** One connection per call: a unix socket is cheap, and a restarted agent is found at once. */
function post(socketPath: string, method: string, body: object, timeoutMs: number): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const fail = (why: string, cause?: unknown) =>
      reject(errorOf('AGENT_UNAVAILABLE', `Guest agent, ${method}: ${why}.`, { cause }));
    const text = JSON.stringify(body);
    const outgoing = request(
      {
        socketPath,
        method: 'POST',
        path: `/${method}`,
        agent: false,
        signal: AbortSignal.timeout(timeoutMs),
        headers: { host: 'dstack', 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
      },
      async (response) => {
        try {
          const chunks: Buffer[] = [];
          let length = 0;
          for await (const chunk of response) {
            length += chunk.length;
            if (length > MAX_ANSWER_BYTES) return fail(`the answer is larger than ${MAX_ANSWER_BYTES} bytes`);
            chunks.push(chunk);
          }
          if (response.statusCode !== 200) return fail(`status ${response.statusCode}`);
          resolve(JSON.parse(Buffer.concat(chunks).toString('utf8')));
        } catch (cause) {
          fail(cause instanceof SyntaxError ? 'the answer is not JSON' : 'the answer was cut off', cause);
        } finally {
          outgoing.destroy();
        }
      },
    );
    outgoing.on('error', (cause) =>
      fail(cause.name === 'AbortError' ? `no answer within ${timeoutMs} ms` : 'not reachable', cause),
    );
    outgoing.end(text);
  });
}
