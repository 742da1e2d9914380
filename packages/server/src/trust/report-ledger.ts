/**
 * The server's own proofs on disk: whole signed reports for a day (`reports/<id>`, one file each), a line of each for a
 * month (`summaries/<day>`, summary-line.ts). A report is there whole or not at all: it is written beside, synced, renamed,
 * and only then gets its line, which alone makes it public; and it is served only while its signature holds.
 *
 * The disk is the operator's. He can take reports away, which shows as time that nothing covers (continuity.ts), up to the
 * last few before a restart, whose absence only the audit log shows. He cannot add or change one.
 */
import { join } from 'node:path';
import { AbatonError } from '@abaton/verify';
import { createEd25519Signer } from '../audit/checkpoint-signer.ts';
import { type LogDisk, openDisk } from '../audit/disk.ts';
import { type Logger, placeOf } from '../log.ts';
import type { SelfAttestation } from '../tee/self-attestation.ts';
import type { Proof } from './continuity.ts';
import { makeReport, openReport, signReport } from './report.ts';
import { formatSummaryLine, readSummaryLines, type Summary, summaryKey } from './summary-line.ts';

export interface ReportLedger {
  /** The key that the reports are signed with: the log's own. */
  readonly vkey: string;
  /**
   * Keeps a proof as a report; durable on return. Never throws: what cannot be kept is named in the operator's log, is not
   * listed, and shows as time that is not covered.
   */
  record(proof: SelfAttestation): Promise<void>;
  /** Of the last 31 days, in the order in which they were recorded. */
  summaries(): readonly Summary[];
  /** The same, as what continuity is computed from. */
  proofs(): readonly Proof[];
  /** The signed report (C2SP note) with that id; null when there is none, or no longer. */
  find(id: string): Promise<string | null>;
  /** Resolves when what was recorded is kept. */
  close(): Promise<void>;
}

export interface LedgerOptions {
  dir: string;
  /** Name of the log key, and its Ed25519 seed. */
  origin: string;
  seed: Uint8Array;
  logger: Logger;
  nowMs: () => number;
}

const DAY_MS = 86_400_000;
const REPORT_MS = DAY_MS;
const SUMMARY_MS = 31 * DAY_MS; // a month, whichever
/** A day at the default interval has 288, of some 40 kB; after a failure there may be four a minute. */
const MAX_REPORTS = 1000;
/** 31 days at the default interval have 8,928; this bounds memory (30 MB) where every proof fails for weeks. */
const MAX_SUMMARIES = 100_000;

const dayOf = (at: string): string => at.slice(0, '2026-11-24'.length);

/** Makes `dir`, reads what is there, removes what is left of a crash. Throws what the disk throws. */
export async function openReportLedger({ dir, origin, seed, logger, nowMs }: LedgerOptions): Promise<ReportLedger> {
  const signer = createEd25519Signer(origin, seed);
  const key = summaryKey(seed);
  const reports = await openDisk(join(dir, 'reports'));
  const days = await openDisk(join(dir, 'summaries'));
  const kept = await readSummaries(days, key);
  /** Those whose whole report is there too. */
  const whole = await readReports(reports, kept);
  let last: Promise<void> = Promise.resolve();

  const prune = async (): Promise<void> => {
    const before = (ms: number) => new Date(nowMs() - ms).toISOString();
    for (const { id } of takeOld(whole, before(REPORT_MS), MAX_REPORTS)) await reports.remove(id);
    takeOld(kept, before(SUMMARY_MS), MAX_SUMMARIES);
    for (const day of await days.list('')) if (day < dayOf(before(SUMMARY_MS))) await days.remove(day);
  };

  const keep = async (proof: SelfAttestation): Promise<void> => {
    await prune(); // first: it may be what makes room
    const report = makeReport(proof, kept.at(-1)?.id ?? null);
    const { id, at, state, codes, trust, previous } = report;
    const summary: Summary = { id, at, state, codes, trust, previous };
    await writeWhole(reports, id, signReport(report, signer));
    await appendLine(days, dayOf(at), formatSummaryLine(summary, key));
    kept.push(summary);
    whole.push(summary);
  };

  await prune();
  return {
    vkey: signer.vkey,
    record(proof) {
      last = last.then(async () => {
        try {
          await keep(proof);
        } catch (error) {
          logger.warn('attestation-report-not-kept', { at: placeOf(error), evidenceId: proof.id });
        }
      });
      return last;
    },
    summaries: () => kept,
    proofs: () =>
      kept.map(({ id, at, state, previous }) => ({
        ...{ id, atMs: Date.parse(at), verified: state === 'verified', previous },
      })),
    async find(id) {
      if (!whole.some((report) => report.id === id)) return null; // so no name but our own reaches the disk
      const note = (await reports.read(id))?.toString();
      try {
        return note !== undefined && openReport(note, [signer.vkey]).id === id ? note : null;
      } catch (error) {
        if (!(error instanceof AbatonError)) throw error;
        logger.warn('attestation-report-changed', { code: error.code, evidenceId: id });
        return null;
      }
    },
    close: () => last,
  };
}

/** Takes away, and returns, what is from before `before` or beyond the newest `max`. */
function takeOld(summaries: Summary[], before: string, max: number): Summary[] {
  const old = summaries.findLastIndex(({ at }) => at < before) + 1;
  return summaries.splice(0, Math.max(old, summaries.length - max));
}

async function readSummaries(days: LogDisk, key: Uint8Array): Promise<Summary[]> {
  const summaries: Summary[] = [];
  for (const day of (await days.list('')).sort())
    summaries.push(...readSummaryLines((await days.read(day))?.toString() ?? '', key));
  return summaries;
}

/** Removes what has no line: half-written, or written just before a crash. */
async function readReports(reports: LogDisk, summaries: readonly Summary[]): Promise<Summary[]> {
  const names = new Set(await reports.list(''));
  const whole = summaries.filter(({ id }) => names.delete(id));
  for (const name of names) await reports.remove(name);
  return whole;
}

/** Readers see the whole file or none; durable on return. */
async function writeWhole(disk: LogDisk, name: string, text: string): Promise<void> {
  await disk.write(`${name}.tmp`, Buffer.from(text), { sync: true });
  await disk.rename(`${name}.tmp`, name);
  await disk.syncDirectory('');
}

/** Durable on return. */
async function appendLine(disk: LogDisk, name: string, line: string): Promise<void> {
  const file = await disk.open(name);
  try {
    await file.write(Buffer.from(line), (await disk.read(name))?.length ?? 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await disk.syncDirectory('');
}
