/**
 * Evidence of the GPUs for a nonce: from NVIDIA's own command when one is configured, else from the guest agent, which has
 * it since dstack 0.6, else none. What comes is read as a verifier reads it, so that evidence which nobody could verify, or
 * which answers somebody else's nonce, never leaves the server.
 */
import { AbatonError, type GpuBundle, type GpuEvidence, parseGpuEvidence } from '@abaton/verify';
import { errorOf } from '../errors.ts';
import type { GuestAgent } from './agent-client.ts';
import type { GpuReferences } from './gpu-references.ts';
import { collectEvidence, gpuUnavailable, parseJson, requireCommand } from './nvattest.ts';

export interface CollectedGpus extends GpuBundle {
  /** NVIDIA's list, as `computeGpuEvidenceSha256` takes it. */
  evidence: GpuEvidence[];
}

export interface GpuSource {
  /**
   * `nonce`: 64 hex digits, from `computeGpuNonce`. Null: this guest has no GPU that could be asked. Throws
   * GPU_EVIDENCE_UNAVAILABLE, AGENT_UNAVAILABLE, or OVERLOADED when too many wait for the GPUs already. `own`: for the
   * server's own attestation, which goes before all that wait and is never turned away: strangers must not close the gate.
   */
  collect(nonce: string, own?: boolean): Promise<CollectedGpus | null>;
}

export interface GpuSourceOptions {
  agent: Pick<GuestAgent, 'gpuEvidence'>;
  /** Absolute path of NVIDIA's nvattest; null: the agent is asked. */
  command: string | null;
  /** Where reference measurements and revocation come from; null: the evidence goes without. */
  references: GpuReferences | null;
  timeoutMs?: number;
}

const TIMEOUT_MS = 60_000; // as the agent's client: up to eight GPUs, one after the other
/** Who asks for evidence need not say who they are, and each report costs the GPUs about a second. */
const MAX_WAITING = 8;
const REPORT_NONCE = { start: 4, end: 36 }; // SPDM GET_MEASUREMENTS (DMTF DSP0274): 4 bytes of header, then the nonce

/** Throws SETTING_INVALID when `command` is no absolute path. */
export function createGpuSource({ agent, command, references, timeoutMs = TIMEOUT_MS }: GpuSourceOptions): GpuSource {
  const path = command === null ? null : requireCommand(command);
  const ask = async (nonce: string): Promise<{ list: unknown } | null> => {
    if (path) return { list: await collectEvidence(path, nonce, timeoutMs) };
    const text = await agent.gpuEvidence(Buffer.from(nonce, 'hex'));
    return text === null ? null : { list: parseJson(Buffer.from(text)) };
  };
  const inTurn = createTurns();
  return {
    async collect(nonce, own = false) {
      if (!/^[0-9a-f]{64}$/.test(nonce)) throw errorOf('NONCE_INVALID', 'nonce must be 64 lower-case hex digits.');
      const asked = await inTurn(() => ask(nonce), own);
      if (!asked) return null;
      const evidence = parseEvidence(asked.list, nonce);
      const found = await references?.referencesFor(evidence);
      return { evidence, rims: found?.rims ?? [], ocspResponses: found?.ocspResponses ?? [] };
    },
  };
}

/** One after the other: the GPUs answer no faster when several ask. */
function createTurns() {
  const waiting: (() => void)[] = [];
  let busy = false;
  return async <T>(work: () => Promise<T>, own: boolean): Promise<T> => {
    if (!own && waiting.length >= MAX_WAITING) throw errorOf('OVERLOADED', `${MAX_WAITING} wait for the GPUs already.`);
    if (busy) await new Promise<void>((resolve) => (own ? waiting.unshift(resolve) : waiting.push(resolve)));
    busy = true;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      busy = next !== undefined;
      next?.();
    }
  };
}

/** Throws GPU_EVIDENCE_UNAVAILABLE, also for reports about another nonce: those of an earlier run, say. */
function parseEvidence(list: unknown, nonce: string): GpuEvidence[] {
  let evidence: GpuEvidence[];
  try {
    evidence = parseGpuEvidence(list);
  } catch (error) {
    if (error instanceof AbatonError) throw gpuUnavailable(`what came is no evidence (${error.code})`);
    throw error;
  }
  for (const { nonce: said, evidence: report } of evidence) {
    const signed = Buffer.from(report, 'base64').toString('hex', REPORT_NONCE.start, REPORT_NONCE.end);
    if (said !== nonce || signed !== nonce) throw gpuUnavailable('what came is for another nonce');
  }
  return evidence;
}
