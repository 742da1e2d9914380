/**
 * Speaks to dstack's guest agent, 0.5 and 0.6, by the methods that both have: those that 0.6 calls v0 and keeps
 * (Dstack-TEE/dstack `guest-agent/rpc/proto/agent_rpc.proto`, `docs/guest-api-v1.md`). Keys must come from there: those
 * of v1 are others. Only what GPUs say is asked from v1. The npm SDK is not used: it needs a Content-Length and counts
 * characters as bytes. EmitEvent is not used either: it is gone from 0.6.
 *
 * tappd (before 0.5) can make quotes and no more here. Its DeriveKey gives another key for the same path than GetKey
 * does, so all that was sealed would be lost with the upgrade; and whether it makes the key of a certificate afresh
 * depends on its release.
 */
import type { TdxEvent } from '@abaton/verify';
import {
  parseGpuBundle,
  parseGpuRecord,
  parseInfo,
  parseKey,
  parseQuote,
  parseTlsKey,
  parseVersion,
} from './agent-answers.ts';
import { type AgentReply, agentUnavailable, askAgent } from './agent-http.ts';
import { type AgentPlace, findAgent, parseAgentEndpoint } from './agent-socket.ts';

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

/**
 * Every call throws AGENT_UNAVAILABLE when the agent is absent, late, refuses, answers something else, or is too old to
 * do it.
 */
export interface GuestAgent {
  info(): Promise<AgentInfo>;
  /** 32 bytes that depend on the app and on `path` only: dstack ignores purpose and algorithm in the derivation. */
  getKey(path: string): Promise<Uint8Array>;
  /** A new key and its RA-TLS server certificate. */
  getTlsKey(options: TlsKeyRequest): Promise<TlsKey>;
  /** A quote over exactly these 64 bytes; one over others is refused. */
  getQuote(reportData: Uint8Array): Promise<AgentQuote>;
  /** Agents before 0.5.7 do not say: `0.5`, or `tappd`, and no revision. */
  version(): Promise<{ version: string; rev: string }>;
  /**
   * What nvattest wrote when the guest booted, byte for byte: its SHA-256 is in the `gpu-attestation` event, and nothing
   * else vouches for it. Null: no GPU, or an agent that cannot say.
   */
  gpuInfo(): Promise<string | null>;
  /** NVIDIA's evidence list for this nonce (32 bytes), as JSON text, collected now. Null: the guest cannot collect any. */
  gpuEvidence(nonce: Uint8Array): Promise<string | null>;
}

const TIMEOUT_MS = 10_000; // a TDX quote takes up to about a second when the host's quoting enclave is busy
const GPU_TIMEOUT_MS = 60_000; // up to eight GPUs, one after the other; dstack itself gives up after 300 s

export interface AgentOptions {
  timeoutMs?: number;
  /** Where to look when nothing is configured. */
  sockets?: readonly string[];
}

/** Where each method is on each surface; null: what tappd has for it is not good enough. Its TdxQuote would hash first. */
const PATHS = {
  Info: { dstack: '/Info', tappd: '/prpc/Tappd.Info' },
  GetQuote: { dstack: '/GetQuote', tappd: '/prpc/Tappd.RawQuote' },
  Version: { dstack: '/Version', tappd: '/prpc/Tappd.Version' },
  GetKey: { dstack: '/GetKey', tappd: null },
  GetTlsKey: { dstack: '/GetTlsKey', tappd: null },
} as const;

/** prpc says 404 for a method that it does not have, and said 400 before. */
const isAbsent = ({ status }: AgentReply): boolean => status === 404 || status === 400;
const NOT_IMPLEMENTED = 501; // v1: this image has no nvattest

/**
 * `endpoint`: path of the agent's socket or its http:// URL on loopback; null: dstack's places are tried. The socket may
 * appear later: each call looks anew. Throws SETTING_INVALID for an endpoint that is neither.
 */
export function openGuestAgent(endpoint: string | null, options: AgentOptions = {}): GuestAgent {
  const { timeoutMs = TIMEOUT_MS, sockets } = options;
  const configured = endpoint === null ? null : parseAgentEndpoint(endpoint);
  const find = (): AgentPlace => findAgent(configured, sockets);

  const call = async (method: keyof typeof PATHS, body: object): Promise<unknown> => {
    const place = find();
    const path = PATHS[method][place.surface];
    if (!path) throw agentUnavailable(method, 'needs dstack 0.5 or newer: mount its dstack.sock instead of tappd.sock');
    return answerOf(method, await askAgent(place, path, body, timeoutMs));
  };

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
    version: async () => {
      const place = find();
      const reply = await askAgent(place, PATHS.Version[place.surface], {}, timeoutMs);
      if (isAbsent(reply)) return { version: place.surface === 'tappd' ? 'tappd' : '0.5', rev: '' };
      return parseVersion(answerOf('Version', reply));
    },
    gpuInfo: async () => {
      const place = find();
      if (place.surface === 'tappd') return null;
      const body = { report_data: '', include_boottime_gpu_evidence: true };
      const reply = await askAgent(place, '/v1/Attest', body, timeoutMs);
      if (reply.status !== 404) return parseGpuBundle(answerOf('Attest', reply), 'boottime_gpu_evidence');
      const before = await askAgent(place, '/GpuInfo', {}, timeoutMs); // builds on the way to 0.6
      return isAbsent(before) ? null : parseGpuRecord(answerOf('GpuInfo', before));
    },
    gpuEvidence: async (nonce) => {
      const place = find();
      if (place.surface === 'tappd') return null;
      const body = { nonce: Buffer.from(nonce).toString('hex') };
      const reply = await askAgent(place, '/v1/AttestGpu', body, options.timeoutMs ?? GPU_TIMEOUT_MS);
      if (reply.status === 404 || reply.status === NOT_IMPLEMENTED) return null;
      return parseGpuBundle(answerOf('AttestGpu', reply), 'bundles');
    },
  };
}

function answerOf(method: string, { status, answer }: AgentReply): unknown {
  if (status !== 200) throw agentUnavailable(method, `status ${status}`);
  return answer;
}
