/** The archive over sealed rows: what stands in clear is a reference, a digest of ciphertext, an origin or a time. */
import { createHash } from 'node:crypto';
import { durableStep } from '../durable-step.ts';
import { errorOf } from '../errors.ts';
import type { Job, JobQueue } from '../jobs/queue.ts';
import { createSignal } from '../signal.ts';
import type { BlobStore } from '../vault/blobs.ts';
import type { Db, Queries, Row } from '../vault/db.ts';
import type { PatientRef, Vault } from '../vault/vault.ts';
import type { NewInstance, StoredInstance, StoredResult, StoreOutcome, StudyArchive, StudyRef } from './archive.ts';
import {
  decodeInstance,
  decodeResult,
  encodeInstance,
  encodeResult,
  type InstanceColumns,
  instanceContext,
  type Origin,
  resultContext,
} from './archive-rows.ts';
import { text } from './values.ts';

export interface ArchiveOptions {
  db: Db;
  blobs: BlobStore;
  vault: Vault;
  queue: JobQueue;
  tenant: string;
  /** How long a study must have been quiet before it is analysed. */
  studyIdleMs: number;
  nowMs: () => number;
}

/** One instance, ready to be inserted. */
interface InstanceRow extends InstanceColumns {
  study: StudyRef;
  patient: PatientRef;
  sealed: Uint8Array;
}

interface ResultRow {
  ref: string;
  study: StudyRef;
  patient: PatientRef;
  created_ms: number;
  sealed: Uint8Array;
}

export class SealedArchive implements StudyArchive {
  readonly #options: ArchiveOptions;
  readonly #changes = createSignal();

  constructor(options: ArchiveOptions) {
    this.#options = options;
  }

  studyRef(studyInstanceUid: string): StudyRef {
    const { vault, tenant } = this.#options;
    return vault.blindIndex('study', tenant, studyInstanceUid) as StudyRef;
  }

  async addInstances(instances: readonly NewInstance[]): Promise<StoreOutcome[]> {
    const { db, queue, studyIdleMs, nowMs } = this.#options;
    const rows: InstanceRow[] = [];
    try {
      for (const instance of instances) rows.push(await this.#sealInstance(instance, 'received'));
      const stored = await db.tx(async (q) => {
        const inserted: boolean[] = [];
        for (const row of rows) inserted.push(await this.#insert(q, row));
        const studies = new Set(rows.filter((_, i) => inserted[i]).map((row) => row.study));
        for (const subject of studies)
          await queue.enqueue(q, { kind: 'analyze-study', subject, notBeforeMs: nowMs() + studyIdleMs });
        return inserted;
      });
      durableStep('instances-committed');
      this.#changes.notify();
      const outcomes: StoreOutcome[] = [];
      for (const [i, { object }] of instances.entries())
        outcomes.push(stored[i] ? 'stored' : await this.#compare(rows[i]!.ref, object.plaintextSha256));
      return outcomes;
    } finally {
      await this.#dropUnneeded(instances);
    }
  }

  async *listInstances(study?: string, series?: string): AsyncGenerator<StoredInstance> {
    const { db, vault, tenant } = this.#options;
    const studies =
      study === undefined
        ? await db.query('select ref from studies where tenant = $1 order by created_ms, ref', [
            vault.blindIndex('tenant', tenant),
          ])
        : [{ ref: this.studyRef(study) }];
    for (const { ref } of studies)
      for (const { instance } of await this.#instancesOf(ref as StudyRef))
        if (series === undefined || instance.seriesInstanceUid === series) yield instance;
  }

  async commitResult(
    job: Job,
    result: StoredResult,
    sr: NewInstance | null,
  ): Promise<'committed' | 'duplicate' | 'lost'> {
    const { db, queue, vault } = this.#options;
    const { study, patient, ...content } = result;
    const ref = this.#resultRef(result.id);
    const lost = new Error('the lease was lost');
    try {
      const context = resultContext({ ref, study, created_ms: result.createdMs });
      const sealed = await vault.sealValue(patient, context, encodeResult(content));
      const srRow = sr && (await this.#sealInstance(sr, 'result'));
      const outcome = await db.tx(async (q) => {
        if (!(await queue.complete(q, job))) throw lost;
        const inserted = await q.query(
          `insert into results (ref, study, patient, created_ms, sealed) values ($1, $2, $3, $4, $5)
           on conflict (ref) do nothing returning ref`,
          [ref, study, patient, result.createdMs, sealed],
        );
        if (inserted.length === 0) return 'duplicate';
        if (srRow && !(await this.#insert(q, srRow)))
          throw errorOf('INTERNAL', `The SOP instance of result ${result.id} exists already.`);
        return 'committed';
      });
      durableStep('result-committed');
      this.#changes.notify();
      return outcome;
    } catch (error) {
      if (error === lost) return 'lost';
      throw error;
    } finally {
      if (sr) await this.#dropUnneeded([sr]);
    }
  }

  changed(timeoutMs: number): Promise<void> {
    return this.#changes.wait(timeoutMs);
  }

  async findInstance(study: string, series: string, instance: string): Promise<StoredInstance | null> {
    const [row] = await this.#options.db.query('select * from instances where ref = $1', [this.#instanceRef(instance)]);
    const found = row && (await this.#openInstance(row));
    return found?.studyInstanceUid === study && found.seriesInstanceUid === series ? found : null;
  }

  async studyState(study: StudyRef): Promise<'unknown' | 'queued' | 'running' | 'complete' | 'failed'> {
    const { db, queue } = this.#options;
    if ((await db.query('select ref from studies where ref = $1', [study])).length === 0) return 'unknown';
    const state = await queue.state('analyze-study', study);
    return state ? ({ ready: 'queued', running: 'running', dead: 'failed' } as const)[state] : 'complete';
  }

  async inputOf(study: StudyRef): Promise<{ instances: StoredInstance[]; inputDigest: string }> {
    const all = await this.#instancesOf(study);
    const instances = all.filter(({ origin }) => origin === 'received').map(({ instance }) => instance);
    const hash = createHash('sha256');
    for (const digest of instances.map(({ object }) => object.plaintextSha256).sort()) hash.update(digest, 'hex');
    return { instances, inputDigest: hash.digest('hex') };
  }

  async results(study: StudyRef): Promise<StoredResult[]> {
    const rows = await this.#options.db.query('select * from results where study = $1 order by created_ms, ref', [
      study,
    ]);
    return Promise.all(rows.map((row) => this.#openResult(row)));
  }

  async findResult(id: string): Promise<StoredResult | null> {
    const [row] = await this.#options.db.query('select * from results where ref = $1', [this.#resultRef(id)]);
    return row ? this.#openResult(row) : null;
  }

  async isReferenced(blobKey: string): Promise<boolean> {
    return (await this.#options.db.query('select ref from instances where blob_key = $1', [blobKey])).length > 0;
  }

  // A result's id follows from digests of the content, so it stands in rows only as a blind index too.
  #resultRef(id: string): string {
    return this.#options.vault.blindIndex('result', this.#options.tenant, id);
  }

  #instanceRef(sopInstanceUid: string): string {
    return this.#options.vault.blindIndex('instance', this.#options.tenant, sopInstanceUid);
  }

  async #sealInstance({ header, patient, object }: NewInstance, origin: Origin): Promise<InstanceRow> {
    const { vault, tenant } = this.#options;
    const { studyInstanceUid, seriesInstanceUid, sopInstanceUid, sopClassUid, transferSyntaxUid, dataset } = header;
    const ref = this.#instanceRef(sopInstanceUid);
    const study = this.studyRef(studyInstanceUid);
    const series = vault.blindIndex('series', tenant, studyInstanceUid, seriesInstanceUid);
    const plaintext = encodeInstance({
      studyInstanceUid,
      seriesInstanceUid,
      sopInstanceUid,
      sopClassUid,
      transferSyntaxUid,
      dataset,
      object,
    });
    const columns = { ref, study, series, origin, blob_key: object.blobKey };
    return { ...columns, patient, sealed: await vault.sealValue(patient, instanceContext(columns), plaintext) };
  }

  /** False when an instance with that UID is there already. */
  async #insert(q: Queries, row: InstanceRow): Promise<boolean> {
    const { vault, tenant, nowMs } = this.#options;
    const inserted = await q.query(
      `insert into instances (ref, study, series, patient, origin, blob_key, sealed)
       values ($1, $2, $3, $4, $5, $6, $7) on conflict (ref) do nothing returning ref`,
      [row.ref, row.study, row.series, row.patient, row.origin, row.blob_key, row.sealed],
    );
    if (inserted.length === 0) return false;
    await q.query('insert into studies (ref, tenant, created_ms) values ($1, $2, $3) on conflict (ref) do nothing', [
      row.study,
      vault.blindIndex('tenant', tenant),
      nowMs(),
    ]);
    return true;
  }

  async #compare(ref: string, plaintextSha256: string): Promise<'identical' | 'conflict'> {
    const [row] = await this.#options.db.query('select * from instances where ref = $1', [ref]);
    const kept = row && (await this.#openInstance(row));
    return kept?.object.plaintextSha256 === plaintextSha256 ? 'identical' : 'conflict';
  }

  /** Deletes the blobs that no row came to need. What cannot be deleted now, the next start deletes. Never throws. */
  async #dropUnneeded(instances: readonly NewInstance[]): Promise<void> {
    for (const { object } of instances)
      try {
        if (!(await this.isReferenced(object.blobKey))) await this.#options.blobs.delete(object.blobKey);
      } catch {}
  }

  async #instancesOf(study: StudyRef): Promise<{ origin: Origin; instance: StoredInstance }[]> {
    const rows = await this.#options.db.query('select * from instances where study = $1', [study]);
    const opened = await Promise.all(
      rows.map(async (row) => ({ origin: row.origin as Origin, instance: await this.#openInstance(row) })),
    );
    return opened.sort((a, b) => compareInstances(a.instance, b.instance));
  }

  async #openInstance(row: Row): Promise<StoredInstance> {
    const { patient, sealed, ...columns } = row as Row & InstanceRow;
    const content = await this.#options.vault.openValue(patient, instanceContext(columns), sealed);
    return { ...decodeInstance(content), patient };
  }

  async #openResult(row: Row): Promise<StoredResult> {
    const { patient, sealed, ...columns } = row as Row & ResultRow;
    const content = await this.#options.vault.openValue(patient, resultContext(columns), sealed);
    return { ...decodeResult(content), study: columns.study, patient };
  }
}

/** By series, then instance number; the UID decides between equal or absent numbers. */
function compareInstances(a: StoredInstance, b: StoredInstance): number {
  const numberOf = (instance: StoredInstance) => Number(text(instance.dataset, 'InstanceNumber')) || 0;
  const compareText = (x: string, y: string) => (x < y ? -1 : x > y ? 1 : 0);
  return (
    compareText(a.seriesInstanceUid, b.seriesInstanceUid) ||
    numberOf(a) - numberOf(b) ||
    compareText(a.sopInstanceUid, b.sopInstanceUid)
  );
}
