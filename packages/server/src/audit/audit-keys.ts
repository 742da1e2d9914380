/**
 * What the audit log hides, and under which key. All keys come from one 32-byte audit key that the TEE derives:
 *
 * - pid: base32(first 128 bits of HMAC-SHA256(K, JSON["audit/v1", tenant, patient reference])), with
 *   K = HKDF(audit key, JSON["abaton/audit-pid/v1", tenant, epoch]). Keyed, since patient numbers can be enumerated.
 * - detail: AES-256-GCM under HKDF(audit key, JSON["abaton/audit-detail/v1", tenant, boot]), one key a boot, so that
 *   random nonces stay far below their limit. It opens only within its own entry.
 */
import { createHmac } from 'node:crypto';
import { canonicalize } from '@abaton/verify';
import { deriveKey, openEnvelope, sealEnvelope } from '../vault/envelope.ts';
import type { PatientRef } from '../vault/vault.ts';

/** RFC 4648 §6, lower case, without padding. */
const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567';
const PID_BYTES = 16;

function encodeBase32(bytes: Uint8Array): string {
  const bits = Array.from(bytes, (byte) => byte.toString(2).padStart(8, '0')).join('');
  return (bits.match(/.{1,5}/g) ?? []).map((group) => BASE32[Number.parseInt(group.padEnd(5, '0'), 2)]).join('');
}

export class AuditKeys {
  readonly #auditKey: Uint8Array;
  readonly #tenant: string;

  constructor(auditKey: Uint8Array, tenant: string) {
    this.#auditKey = auditKey;
    this.#tenant = tenant;
  }

  /** The patient's pseudonym of that epoch, 26 characters. It is PHI: it goes into entries, never into public places. */
  pid(patient: PatientRef, epoch: number): string {
    const key = deriveKey(this.#auditKey, JSON.stringify(['abaton/audit-pid/v1', this.#tenant, epoch]));
    const mac = createHmac('sha256', key)
      .update(JSON.stringify(['audit/v1', this.#tenant, patient]))
      .digest();
    return encodeBase32(mac.subarray(0, PID_BYTES));
  }

  /** `entry`: the entry without its detail, which is authenticated with it. Returns base64url. */
  sealDetail(boot: string, entry: object, detail: Readonly<Record<string, unknown>>): string {
    const plaintext = Buffer.from(canonicalize(detail));
    return Buffer.from(sealEnvelope(this.#detailKey(boot), [canonicalize(entry)], plaintext)).toString('base64url');
  }

  /** Opens the detail of an entry text as it stands in the log; null when it has none. Throws SEAL_BROKEN. */
  openDetail(entryText: string): Record<string, unknown> | null {
    const { detail, ...entry } = JSON.parse(entryText);
    if (detail === null) return null;
    const sealed = Buffer.from(detail, 'base64url');
    return JSON.parse(Buffer.from(openEnvelope(this.#detailKey(entry.boot), [canonicalize(entry)], sealed)).toString());
  }

  #detailKey(boot: string): Uint8Array {
    return deriveKey(this.#auditKey, JSON.stringify(['abaton/audit-detail/v1', this.#tenant, boot]));
  }
}
