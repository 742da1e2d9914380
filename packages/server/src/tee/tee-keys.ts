/**
 * The keys that only this app can get, on this or an equally attested platform. dstack derives
 * HKDF(app key, path) and ignores purpose and algorithm, so the path carries purpose *and version*: a new use gets a
 * new path, and the bytes under a path never change meaning.
 */
import type { GuestAgent } from './agent-client.ts';

export const KEY_PATHS = {
  /** Root of the vault's key hierarchy, joined with the keyholder's share when there is one. */
  vault: 'abaton/v1/vault',
  /** Ed25519 seed that signs the checkpoints of the audit log. */
  auditLog: 'abaton/v1/audit-log',
  /** Pseudonyms and sealed detail of audit events. */
  auditEvents: 'abaton/v1/audit-events',
  /** Seed of the TLS key of a domain, which somebody else certifies. */
  tlsDomain: 'abaton/v1/tls-domain',
} as const;

export type TeeKeys = { readonly [Name in keyof typeof KEY_PATHS]: Uint8Array };

/** 32 bytes each, the same after a restart and after an authorised upgrade. Throws AGENT_UNAVAILABLE. */
export async function deriveTeeKeys(agent: Pick<GuestAgent, 'getKey'>): Promise<TeeKeys> {
  const names = Object.keys(KEY_PATHS) as (keyof typeof KEY_PATHS)[];
  const keys = await Promise.all(names.map((name) => agent.getKey(KEY_PATHS[name])));
  return Object.fromEntries(names.map((name, i) => [name, keys[i]])) as TeeKeys;
}
