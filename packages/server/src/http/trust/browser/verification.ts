/** Asks this server for evidence for a number that it cannot have known, and judges the answer here. */
import { UnavailableError, type Verdict, verifyEvidence } from '@abaton/verify';
import type { Demands } from './demands.ts';

export interface Finding {
  nonce: string;
  verdict: Verdict;
  /** Every required check has passed but `channel`, which no page can run: it cannot see the key of its connection. */
  allButChannel: boolean;
}

const NONCE_BYTES = 32;

/** Throws UnavailableError with the server's own code when there is no evidence. */
export async function verifyHere({ policy, acceptedRootsSha256 }: Demands): Promise<Finding> {
  const nonce = drawNonce();
  const evidence = await fetchEvidence(nonce);
  const judge = (tlsSpkiSha256: string | null): Promise<Verdict> =>
    verifyEvidence({ evidence, policy, nowMs: Date.now(), expect: { nonce, tlsSpkiSha256 }, acceptedRootsSha256 });
  const verdict = await judge(null);
  // As if the connection were the one that the evidence names: tells whether anything but the channel is missing.
  const named = (evidence as { reportData?: { tlsSpkiSha256?: unknown } } | null)?.reportData?.tlsSpkiSha256;
  const { valid } = await judge(typeof named === 'string' ? named : null);
  return { nonce, verdict, allButChannel: valid };
}

function drawNonce(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

async function fetchEvidence(nonce: string): Promise<unknown> {
  const unavailable = (code: string): never => {
    throw new UnavailableError(code, 'This server gives no evidence now.');
  };
  const response = await fetch(`/attestation?nonce=${nonce}`, { cache: 'no-store' }).catch(() =>
    unavailable('CONNECTION_FAILED'),
  );
  const body: unknown = await response.json().catch(() => unavailable('EVIDENCE_MALFORMED'));
  if (response.ok) return body;
  const { code } = body as { code?: unknown };
  return unavailable(typeof code === 'string' && /^[A-Z_]{1,40}$/.test(code) ? code : `HTTP ${response.status}`);
}
