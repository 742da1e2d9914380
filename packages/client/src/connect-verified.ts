/** Verify first, then send, over the same connection: the only way in which this client sends anything. */
import { randomBytes } from 'node:crypto';
import {
  type Evidence,
  type Policy,
  UnavailableError,
  type Verdict,
  VerifiedCache,
  verifyEvidence,
} from '@abaton/verify';
import { type Channel, type ChannelRequest, type ChannelResponse, openChannel } from './channel.ts';
import type { ClientCode } from './codes.ts';
import { NotVerifiedError } from './not-verified.ts';

export { NotVerifiedError };

export interface VerifyOptions {
  /** https: address of the server. */
  url: string;
  policy: Policy;
  /** SHA-256 of roots of software TEEs. Their evidence is then accepted for synthetic data, and still says `simulated`. */
  acceptedRootsSha256?: readonly string[];
  /** How long the server may take to hand out its evidence. Default: 30 s. */
  timeoutMs?: number;
  /** Given the evidence as it came, before it is judged: to keep it. */
  onEvidence?: (evidence: unknown) => void;
  /** For tests. */
  nowMs?: () => number;
}

export interface VerifiedConnection {
  verdict: Verdict;
  evidence: Evidence;
  keyExchange: string | null;
  request(request: ChannelRequest): Promise<ChannelResponse>;
  close(): void;
}

/** Of this process: the same collateral and chains come with every evidence of a service. */
const cache = new VerifiedCache();
const NONCE_BYTES = 32; // what the server's /attestation takes
const EVIDENCE_TIMEOUT_MS = 30_000; // a quote takes up to a second, collateral from a slow PCCS ten more
const MAX_EVIDENCE_BYTES = 4 * 2 ** 20; // quote 5 kB, collateral 60 kB, event log 60 kB; GPU evidence will add about 1 MB

/** Asks for fresh evidence. Throws EVIDENCE_UNAVAILABLE when there is none in time, ANSWER_INVALID when it is not JSON. */
async function fetchEvidence(channel: Channel, nonce: string, timeoutMs: number): Promise<unknown> {
  const unavailable = (message: string, cause?: unknown) =>
    new UnavailableError<ClientCode>('EVIDENCE_UNAVAILABLE', `${message} Try again later.`, { cause });
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const response = await channel.request({ method: 'GET', path: `/attestation?nonce=${nonce}`, signal });
    if (response.status !== 200) throw unavailable(`The server answered ${response.status} instead of evidence.`);
    return await response.json(MAX_EVIDENCE_BYTES);
  } catch (cause) {
    if (signal.aborted) throw unavailable(`The server gave no evidence within ${timeoutMs} ms.`, cause);
    throw cause;
  }
}

/** Judges fresh evidence for exactly this channel. */
async function fetchVerdict(
  channel: Channel,
  options: VerifyOptions,
): Promise<{ verdict: Verdict; evidence: unknown }> {
  const nonce = randomBytes(NONCE_BYTES).toString('hex');
  const evidence = await fetchEvidence(channel, nonce, options.timeoutMs ?? EVIDENCE_TIMEOUT_MS);
  options.onEvidence?.(evidence);
  const verdict = await verifyEvidence({
    evidence,
    policy: options.policy,
    nowMs: options.nowMs?.() ?? Date.now(),
    cache,
    expect: { nonce, tlsSpkiSha256: channel.peerSpkiSha256, tlsExporterSha256: channel.exporterSha256(nonce) },
    ...(options.acceptedRootsSha256 ? { acceptedRootsSha256: options.acceptedRootsSha256 } : {}),
  });
  return { verdict, evidence };
}

/** Says what may be sent, and sends nothing but the question. Throws only when it cannot ask. */
export async function verifyAttestation(options: VerifyOptions): Promise<Verdict> {
  const channel = await openChannel(options.url);
  try {
    return (await fetchVerdict(channel, options)).verdict;
  } finally {
    channel.close();
  }
}

/** Connects, verifies, and returns the connection only when the verdict is valid. Throws NotVerifiedError otherwise. */
export async function connectVerified(options: VerifyOptions): Promise<VerifiedConnection> {
  const channel = await openChannel(options.url);
  try {
    const { verdict, evidence } = await fetchVerdict(channel, options);
    if (!verdict.valid || verdict.send === 'nothing') throw new NotVerifiedError(verdict);
    const { keyExchange, request, close } = channel;
    return { verdict, evidence: evidence as Evidence, keyExchange, request, close };
  } catch (error) {
    channel.close();
    throw error;
  }
}
