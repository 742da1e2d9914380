/**
 * What the audit log hides, and under which key. All keys but those of patients come from one 32-byte audit key that the
 * TEE derives:
 *
 * - pid: base32(first 128 bits of HMAC-SHA256(K, JSON["audit/v1", tenant, patient reference])), with
 *   K = HKDF(audit key, JSON["abaton/audit-pid/v1", tenant, epoch]). Keyed, since patient numbers can be enumerated.
 * - detail of an entry about nobody: AES-256-GCM under HKDF(audit key, JSON["abaton/audit-detail/v1", tenant, boot]), one
 *   key a boot, so that random nonces stay far below their limit. Releases before accounting keys sealed all details so.
 * - detail of an entry about a patient: under the patient's accounting key (vault/keys.ts), and so until that is destroyed.
 *
 * | offset | length | meaning |
 * |---:|---:|---|
 * | 0 | 1 | version: 1, the envelope of the boot's key begins here; 2, accounting key |
 * | 1 | 8 | version 2: id of the accounting key |
 * | 9 | n | version 2: the envelope (envelope.ts) |
 *
 * A detail opens only within its own entry.
 */
import { createHmac } from 'node:crypto';
import { canonicalize } from '@abaton/verify';
import { deriveKey, openEnvelope, sealEnvelope } from '../vault/envelope.ts';
import type { AccountingKey, AccountingKeys } from '../vault/keys.ts';
import type { PatientRef } from '../vault/vault.ts';

/** RFC 4648 §6, lower case, without padding. */
const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567';
const PID_BYTES = 16;
const ACCOUNTING_VERSION = 2;
const KEY_ID_BYTES = 8;
const ENVELOPE_AT = 1 + KEY_ID_BYTES;

function encodeBase32(bytes: Uint8Array): string {
  const bits = Array.from(bytes, (byte) => byte.toString(2).padStart(8, '0')).join('');
  return (bits.match(/.{1,5}/g) ?? []).map((group) => BASE32[Number.parseInt(group.padEnd(5, '0'), 2)]).join('');
}

export class AuditKeys {
  readonly #auditKey: Uint8Array;
  readonly #tenant: string;
  /** Derived once, since each entry needs them: by epoch; and of the boot asked for last. */
  readonly #pidKeys = new Map<number, Uint8Array>();
  #detailKeyOf: { boot: string; key: Uint8Array } | null = null;

  constructor(auditKey: Uint8Array, tenant: string) {
    this.#auditKey = auditKey;
    this.#tenant = tenant;
  }

  /** The patient's pseudonym of that epoch, 26 characters. It is PHI: it goes into entries, never into public places. */
  pid(patient: PatientRef, epoch: number): string {
    let key = this.#pidKeys.get(epoch);
    if (!key) {
      key = deriveKey(this.#auditKey, JSON.stringify(['abaton/audit-pid/v1', this.#tenant, epoch]));
      this.#pidKeys.set(epoch, key);
    }
    const mac = createHmac('sha256', key)
      .update(JSON.stringify(['audit/v1', this.#tenant, patient]))
      .digest();
    return encodeBase32(mac.subarray(0, PID_BYTES));
  }

  /**
   * `entry`: the entry without its detail, which is authenticated with it. `accountingKey`: of the patient; null when no
   * patient is concerned. Returns base64url.
   */
  sealDetail(boot: string, entry: object, detail: object, accountingKey: AccountingKey | null): string {
    const [context, plaintext] = [[canonicalize(entry)], Buffer.from(JSON.stringify(detail))];
    const sealed = accountingKey
      ? Buffer.concat([
          Uint8Array.of(ACCOUNTING_VERSION),
          accountingKey.id,
          sealEnvelope(accountingKey.detail, context, plaintext),
        ])
      : sealEnvelope(this.#detailKey(boot), context, plaintext);
    return Buffer.from(sealed).toString('base64url');
  }

  /**
   * Opens the detail of an entry text as it stands in the log. `find`: how the accounting key of that id is had. Null when
   * there is no detail, or the accounting key that it needs was destroyed. Throws SEAL_BROKEN.
   */
  async openDetail(entryText: string, find: AccountingKeys['find']): Promise<Record<string, unknown> | null> {
    const { detail, ...entry } = JSON.parse(entryText);
    if (detail === null) return null;
    const sealed = Buffer.from(detail, 'base64url');
    const open = (key: Uint8Array, envelope: Uint8Array) =>
      JSON.parse(Buffer.from(openEnvelope(key, [canonicalize(entry)], envelope)).toString());
    if (sealed[0] !== ACCOUNTING_VERSION) return open(this.#detailKey(entry.boot), sealed);
    const key = await find(sealed.subarray(1, ENVELOPE_AT));
    return key && open(key.detail, sealed.subarray(ENVELOPE_AT));
  }

  #detailKey(boot: string): Uint8Array {
    if (this.#detailKeyOf?.boot !== boot)
      this.#detailKeyOf = {
        boot,
        key: deriveKey(this.#auditKey, JSON.stringify(['abaton/audit-detail/v1', this.#tenant, boot])),
      };
    return this.#detailKeyOf.key;
  }
}
