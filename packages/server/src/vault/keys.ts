/**
 * The key hierarchy: TEE key ‖ keyholder's share → epoch key → patient key → object key.
 *
 * - epoch key = HKDF-SHA256(TEE key ‖ share, 'abaton/epoch-key/v1/' epoch id): never stored. A new epoch, with a new
 *   share, is how old keys become unreachable: once the old share is destroyed, so is every wrapped key that a copy of
 *   an old disk still holds.
 * - patient key: random, wrapped by the epoch key, in `patient_keys`; from it the keys for object keys and for values.
 * - accounting key: random, wrapped by the epoch key, in `accounting_keys`; seals what the log says of the patient. Content
 *   can be erased without it: who had received what is still to be told (45 CFR 164.528) until its own retention ends.
 * - object key: random, wrapped by the patient's key, in the row of the object (sealing-vault.ts).
 */
import { randomBytes } from 'node:crypto';
import { durableStep } from '../durable-step.ts';
import { errorOf } from '../errors.ts';
import type { Db, Queries } from './db.ts';
import { deriveKey, KEY_BYTES, openEnvelope, sealEnvelope } from './envelope.ts';
import type { PatientRef } from './vault.ts';

export interface PatientKeys {
  /** Wraps object keys. */
  wrap: Uint8Array;
  /** Seals values of rows. */
  value: Uint8Array;
}

/** What the audit log seals an entry about a patient under. */
export interface AccountingKey {
  /** 8 bytes, derived from the key: stands in the entry, and says which key opens it. */
  id: Uint8Array;
  /** Seals details of entries. */
  detail: Uint8Array;
}

/** Whoever keeps accounting keys, as the audit log sees it. */
export interface AccountingKeys {
  /** Made, and durable on return, when the patient has none. */
  forRecording(patient: PatientRef): Promise<AccountingKey>;
  /** By the id that an entry names. Null when there is none: it was destroyed. Throws SEAL_BROKEN. */
  find(id: Uint8Array): Promise<AccountingKey | null>;
}

/** 32 bytes each, from the guest agent and from the keyholder; null until a keyholder is configured. */
export interface RootSecrets {
  teeKey: Uint8Array;
  keyholderShare: Uint8Array | null;
}

const FIRST_EPOCH = 1;

/** Opened patients that are kept in memory, so that a listing opens each key once. About 200 bytes each. */
const CACHED_PATIENTS = 1024;

export const requireSecret = (name: string, secret: Uint8Array): Uint8Array => {
  if (secret.length !== KEY_BYTES) throw errorOf('SETTING_INVALID', `${name} must have ${KEY_BYTES} bytes.`);
  return secret;
};

function deriveEpochKey({ teeKey, keyholderShare }: RootSecrets, epoch: number): Uint8Array {
  const share = keyholderShare ? requireSecret('The share of the keyholder', keyholderShare) : new Uint8Array();
  return deriveKey(Buffer.concat([requireSecret('The TEE key', teeKey), share]), `abaton/epoch-key/v1/${epoch}`);
}

/** One table of wrapped keys; whole statements, so that both engines' rules can be checked on them. */
interface KeyTable {
  context: string;
  find: string;
  all: string;
  rewrap: string;
}

const CONTENT: KeyTable = {
  context: 'patient-key',
  find: 'select epoch, wrapped from patient_keys where patient = $1',
  all: 'select patient, wrapped from patient_keys',
  rewrap: 'update patient_keys set epoch = $1, wrapped = $2 where patient = $3',
};
const ACCOUNTING: KeyTable = {
  context: 'accounting-key',
  find: 'select epoch, wrapped from accounting_keys where patient = $1',
  all: 'select patient, wrapped from accounting_keys',
  rewrap: 'update accounting_keys set epoch = $1, wrapped = $2 where patient = $3',
};

const ACCOUNTING_ID_BYTES = 8;
const LOOKUP_BYTES = 16;

const parseAccountingKey = (key: Uint8Array): AccountingKey => ({
  id: deriveKey(key, 'abaton/accounting-key/v1/id').subarray(0, ACCOUNTING_ID_BYTES),
  detail: deriveKey(key, 'abaton/accounting-key/v1/detail'),
});

const checkContext = (epoch: number) => ['epoch-check', String(epoch)];
const keyContext = (table: KeyTable, epoch: number, patient: PatientRef) => [table.context, String(epoch), patient];

/** The keys used last, up to CACHED_PATIENTS. */
class RecentKeys<Key> extends Map<string, Key> {
  override get(name: string): Key | undefined {
    const key = super.get(name);
    return key === undefined ? undefined : this.set(name, key) && key;
  }

  override set(name: string, key: Key): this {
    this.delete(name);
    super.set(name, key);
    const [oldest] = this.keys();
    if (this.size > CACHED_PATIENTS && oldest !== undefined) this.delete(oldest);
    return this;
  }
}

export class KeyHierarchy {
  readonly #db: Db;
  readonly #nowMs: () => number;
  #secrets: RootSecrets;
  #epoch = 0;
  /** The active epoch, and while a rotation commits also its successor. */
  readonly #epochKeys = new Map<number, Uint8Array>();
  readonly #content = new RecentKeys<PatientKeys>();
  readonly #accounting = new RecentKeys<AccountingKey>();
  /** By id, hex. */
  readonly #named = new RecentKeys<AccountingKey>();

  private constructor(db: Db, secrets: RootSecrets, nowMs: () => number) {
    this.#db = db;
    this.#secrets = secrets;
    this.#nowMs = nowMs;
  }

  /** The epoch whose keys are in use; the first one where nothing was sealed yet. */
  static async activeEpoch(db: Queries): Promise<number> {
    return (await findActive(db))?.epoch ?? FIRST_EPOCH;
  }

  /** Whether the active epoch was begun with these secrets; false as well where there is none. */
  static async isSealedUnder(db: Queries, secrets: RootSecrets): Promise<boolean> {
    const active = await findActive(db);
    if (!active) return false;
    try {
      openEpochKey(secrets, active);
      return true;
    } catch {
      return false;
    }
  }

  /** Epochs whose share is no longer needed, and was not destroyed yet; oldest first. */
  static async retiredEpochs(db: Queries): Promise<number[]> {
    return (await db.query(`select id from epochs where state = 'retired' order by id`)).map(({ id }) => Number(id));
  }

  /** The keyholder has destroyed the share of that epoch. */
  static async markDestroyed(db: Queries, epoch: number): Promise<void> {
    await db.query(`update epochs set state = 'destroyed' where id = $1 and state = 'retired'`, [epoch]);
  }

  /** Opens the active epoch, or begins the first. Throws SEAL_BROKEN when the secrets are not those of the epoch. */
  static async open(db: Db, secrets: RootSecrets, nowMs: () => number): Promise<KeyHierarchy> {
    const keys = new KeyHierarchy(db, secrets, nowMs);
    const active = await findActive(db);
    if (active) {
      keys.#epoch = active.epoch;
      keys.#epochKeys.set(active.epoch, openEpochKey(secrets, active));
    } else {
      await db.tx((q) => keys.#begin(q, FIRST_EPOCH, secrets));
      keys.#epoch = FIRST_EPOCH;
      durableStep('epoch-created');
    }
    return keys;
  }

  status(): { keyholder: 'none' | 'held'; epoch: number } {
    return { keyholder: this.#secrets.keyholderShare ? 'held' : 'none', epoch: this.#epoch };
  }

  /**
   * Drops every opened patient key; the next use opens it again from its row. The bytes are not overwritten: work under way
   * still holds them, and would seal under zeros.
   */
  forget(): void {
    this.#content.clear();
    this.#accounting.clear();
    this.#named.clear();
  }

  /** The patient's keys; new ones are durable on return. */
  async forSealing(patient: PatientRef): Promise<PatientKeys> {
    const known = await this.#find(patient);
    if (known) return known;
    await this.#db.tx(async (q) => {
      const { epoch, wrapped } = await this.#wrapNew(q, CONTENT, patient, randomBytes(KEY_BYTES));
      await q.query(
        'insert into patient_keys (patient, epoch, wrapped) values ($1, $2, $3) on conflict (patient) do nothing',
        [patient, epoch, wrapped],
      );
    });
    durableStep('patient-key-committed');
    return this.forOpening(patient);
  }

  /** Throws SEAL_BROKEN when there is no key, or it does not open. */
  async forOpening(patient: PatientRef): Promise<PatientKeys> {
    const keys = await this.#find(patient);
    if (!keys) throw errorOf('SEAL_BROKEN', 'There is no key for the owner of a sealed value.');
    return keys;
  }

  readonly accounting: AccountingKeys = {
    forRecording: async (patient) => {
      const known = this.#accounting.get(patient) ?? (await this.#openAccounting(patient));
      if (known) return known;
      await this.#db.tx(async (q) => {
        const key = randomBytes(KEY_BYTES);
        const { epoch, wrapped } = await this.#wrapNew(q, ACCOUNTING, patient, key);
        await q.query(
          `insert into accounting_keys (patient, lookup, epoch, wrapped) values ($1, $2, $3, $4)
           on conflict (patient) do nothing`,
          [patient, this.#lookupOf(parseAccountingKey(key).id), epoch, wrapped],
        );
      });
      durableStep('accounting-key-committed');
      const made = await this.#openAccounting(patient);
      if (!made) throw errorOf('SEAL_BROKEN', 'The accounting key of a patient is gone as soon as it was made.');
      return made;
    },
    find: async (id) => {
      const name = Buffer.from(id).toString('hex');
      const known = this.#named.get(name);
      if (known) return known;
      const [row] = await this.#db.query('select patient from accounting_keys where lookup = $1', [this.#lookupOf(id)]);
      const key = row ? await this.#openAccounting(row.patient as PatientRef) : null;
      if (!key || Buffer.compare(key.id, id) !== 0) return null;
      this.#named.set(name, key);
      return key;
    },
  };

  async #openAccounting(patient: PatientRef): Promise<AccountingKey | null> {
    const opened = await this.#open(ACCOUNTING, patient);
    if (!opened) return null;
    const key = parseAccountingKey(opened);
    this.#accounting.set(patient, key);
    return key;
  }

  /** The rows do not show which entries of the log are whose: both names are ids, and only the TEE can join them. */
  #lookupOf(id: Uint8Array): string {
    const { teeKey } = this.#secrets;
    const name = `abaton/accounting-lookup/v1/${Buffer.from(id).toString('hex')}`;
    return Buffer.from(deriveKey(teeKey, name).subarray(0, LOOKUP_BYTES)).toString('hex');
  }

  /**
   * Ends the accounting of a patient, whose retention is over: on return the row is gone, and what the log says of the
   * patient opens no more. As with content, a copy of the row made before opens until the epoch is rotated.
   */
  async destroyAccountingKey(patient: PatientRef): Promise<void> {
    await this.#db.query('delete from accounting_keys where patient = $1', [patient]);
    this.#accounting.delete(patient);
    this.#named.clear();
    durableStep('accounting-key-destroyed');
  }

  /**
   * Begins an epoch under `keyholderShare` and wraps every patient's keys again, in one transaction: a crash leaves either
   * the old epoch, which needs the old share, or the new one. On return nothing needs the old share any more.
   */
  async rotate(keyholderShare: Uint8Array | null): Promise<void> {
    const secrets = { ...this.#secrets, keyholderShare };
    const old = await this.#db.tx(async (q) => {
      const old = await KeyHierarchy.activeEpoch(q);
      const next = old + 1;
      await q.query(`update epochs set state = 'retired' where id = $1`, [old]);
      await this.#begin(q, next, secrets);
      for (const table of [CONTENT, ACCOUNTING])
        for (const row of await q.query(table.all)) {
          const patient = row.patient as PatientRef;
          const key = openEnvelope(this.#epochKey(old), keyContext(table, old, patient), row.wrapped as Uint8Array);
          const wrapped = sealEnvelope(this.#epochKey(next), keyContext(table, next, patient), key);
          await q.query(table.rewrap, [next, wrapped, patient]);
        }
      return old;
    });
    this.#secrets = secrets;
    this.#epoch = old + 1;
    this.#epochKeys.delete(old);
    durableStep('epoch-rotated');
  }

  async #begin(q: Queries, epoch: number, secrets: RootSecrets): Promise<void> {
    const key = deriveEpochKey(secrets, epoch);
    this.#epochKeys.set(epoch, key);
    await q.query(`insert into epochs (id, state, created_ms, key_check) values ($1, 'active', $2, $3)`, [
      epoch,
      this.#nowMs(),
      sealEnvelope(key, checkContext(epoch), new Uint8Array()),
    ]);
  }

  async #find(patient: PatientRef): Promise<PatientKeys | null> {
    const known = this.#content.get(patient);
    if (known) return known;
    const key = await this.#open(CONTENT, patient);
    if (!key) return null;
    const keys = {
      wrap: deriveKey(key, 'abaton/patient-key/v1/wrap'),
      value: deriveKey(key, 'abaton/patient-key/v1/value'),
    };
    this.#content.set(patient, keys);
    return keys;
  }

  async #open(table: KeyTable, patient: PatientRef): Promise<Uint8Array | null> {
    let [row] = await this.#db.query(table.find, [patient]);
    // A rotation may have ended since the row was read.
    if (row && !this.#epochKeys.has(Number(row.epoch))) [row] = await this.#db.query(table.find, [patient]);
    if (!row) return null;
    const epoch = Number(row.epoch);
    return openEnvelope(this.#epochKey(epoch), keyContext(table, epoch, patient), row.wrapped as Uint8Array);
  }

  async #wrapNew(q: Queries, table: KeyTable, patient: PatientRef, key: Uint8Array) {
    const epoch = await KeyHierarchy.activeEpoch(q);
    return { epoch, wrapped: sealEnvelope(this.#epochKey(epoch), keyContext(table, epoch, patient), key) };
  }

  #epochKey(epoch: number): Uint8Array {
    const key = this.#epochKeys.get(epoch);
    if (!key) throw errorOf('SEAL_BROKEN', 'A wrapped key belongs to an epoch that is over.');
    return key;
  }
}

interface ActiveEpoch {
  epoch: number;
  check: Uint8Array;
}

async function findActive(q: Queries): Promise<ActiveEpoch | null> {
  const [row] = await q.query(`select id, key_check from epochs where state = 'active'`);
  return row ? { epoch: Number(row.id), check: row.key_check as Uint8Array } : null;
}

/** Throws SEAL_BROKEN when the secrets are not those of the epoch. */
function openEpochKey(secrets: RootSecrets, { epoch, check }: ActiveEpoch): Uint8Array {
  const key = deriveEpochKey(secrets, epoch);
  openEnvelope(key, checkContext(epoch), check);
  return key;
}
