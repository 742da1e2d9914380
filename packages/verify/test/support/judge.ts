/** Verifies simulated evidence after changes before and after signing. */
import assert from 'node:assert/strict';
import {
  type Check,
  type Policy,
  type TdxEvidence,
  type Verdict,
  type VerifiedCache,
  type VerifyEvidenceInput,
  verifyEvidence,
} from '../../src/index.ts';
import { type Bent, NOW_MS, simulate } from './simulated-platform.ts';

export interface Change {
  /** Before signing. */
  bend?: (platform: Bent) => void;
  /** After signing. */
  tamper?: (evidence: TdxEvidence) => void;
  policy?: Partial<Policy>;
  expect?: Partial<VerifyEvidenceInput['expect']>;
  nowMs?: number;
  /** Default: the root of the simulation. */
  pin?: string | null;
  cache?: VerifiedCache;
}

export const good = simulate();
const { nonce, tlsSpkiSha256, manifestSha256, policySha256, modelRegistrySha256 } = good.evidence.reportData;
export const pins = {
  keyProviders: [{ name: 'simulated', id: '' }],
  manifestSha256: [manifestSha256],
  policySha256: [policySha256],
  modelRegistrySha256: [modelRegistrySha256],
};

export function judge({ bend, tamper, policy, expect, nowMs = NOW_MS, pin, cache }: Change = {}): Promise<Verdict> {
  const simulation = bend ? simulate(bend) : good;
  const evidence = structuredClone(simulation.evidence);
  tamper?.(evidence);
  const root = pin === undefined ? simulation.rootSha256 : pin;
  return verifyEvidence({
    evidence: JSON.parse(JSON.stringify(evidence)),
    policy: { ...simulation.policy, ...policy },
    nowMs,
    expect: { nonce, tlsSpkiSha256, ...expect },
    ...(root !== null && { acceptedRootsSha256: [root] }),
    ...(cache && { cache }),
  });
}

export const statusOf = (checks: readonly Check[]) => Object.fromEntries(checks.map(({ id, status }) => [id, status]));

export const failures = (checks: readonly Check[]) =>
  checks.filter(({ status }) => status === 'fail').map(({ id, code }) => `${id}: ${code}`);

type Value = string | number | boolean | null | readonly unknown[];

/** Sets the member at `path` (`a.b.0`) to a value, or to what is made of the old one. */
export function put<T>(target: object, path: string, value: Value | ((old: T) => unknown)): void {
  const names = path.split('.');
  const last = names.pop()!;
  let holder = target as Record<string, unknown>;
  for (const name of names) holder = holder[name] as Record<string, unknown>;
  assert.ok(Object.hasOwn(holder, last), path);
  holder[last] = typeof value === 'function' ? value(holder[last] as T) : value;
}

/** A change before signing. */
export const signed = <T = string>(path: string, value: Value | ((old: T) => unknown)): Change => ({
  bend: (platform) => put(platform, path, value),
});

/** A change after signing. */
export const unsigned = <T = string>(path: string, value: Value | ((old: T) => unknown)): Change => ({
  tamper: (evidence) => put(evidence, path, value),
});
