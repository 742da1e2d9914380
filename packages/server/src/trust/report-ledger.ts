/**
 * The server's own proofs on disk: whole signed reports for a day (`reports/<id>`, one file each), a line of each for a
 * month (`summaries/<day>`, summary-line.ts). A report is there whole or not at all: it is written beside, synced,
 * renamed, and only then gets its line, which alone makes it public; and it is served only while its signature holds.
 *
 * The disk is the operator's. He can take reports away, which shows as time that nothing covers (continuity.ts), up to
 * the last few before a restart, whose absence only the audit log shows. He cannot add or change one.
 */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { NoteSigner } from '@abaton/client';
import { AbatonError } from '@abaton/verify';
import { makeDirectory, replaceDurably } from '../durable-files.ts';
import { type Logger, placeOf } from '../log.ts';
import { appendRegularFile, readRegularFile } from '../regular-file.ts';
import type { SelfAttestation } from '../tee/self-attestation.ts';
import { makeReport, openReport, signReport } from './report.ts';
import { formatSummaryLine, readSummaryLines, type Summary, summaryKey } from './summary-line.ts';

export interface ReportLedger {
  /** The key that the reports are signed with: the log's own. */
  readonly vkey: string;
  /**
   * Keeps a proof as a report; durable on return. Never throws: what cannot be kept is named in the operator's log, is
   * not listed, and shows as time that is not covered.
   */
  record(proof: SelfAttestation): Promise<void>;
  /** Of the last 31 days, in the order in which they were recorded. */
  summaries(): readonly Summary[];
  /** The signed report (C2SP note) with that id; null when there is none, or no longer. */
  find(id: string): Promise<string | null>;
  /** Resolves when what was recorded is kept. */
  close(): Promise<void>;
}

export interface LedgerOptions {
  dir: string;
  /** The log's own, Ed25519. */
  signer: NoteSigner;
  /** Those that may have signed what is found here: keys of the log, of all years. */
  vkeys: () => readonly string[];
  /** 32 bytes, derived from the TEE: the lines of summaries are authenticated under a key of it. */
  summarySeed: Uint8Array;
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

/** As many lines of some 300 bytes as are kept at all; at the default interval a day has 288. */
const MAX_DAY_BYTES = 400 * MAX_SUMMARIES;
/** Days that 31 times 24 hours touch. */
const MAX_DAYS = 32;
/** A note is read up to 512,000 characters (verify, tlog/note.ts), each of three bytes of UTF-8 at most. */
const MAX_REPORT_BYTES = 3 * 512_000;

const dayOf = (at: string): string => at.slice(0, '2026-11-24'.length);

/** Makes `dir`, reads what is there, removes what is left of a crash. Throws what the disk throws. */
export async function openReportLedger(options: LedgerOptions): Promise<ReportLedger> {
  const { dir, signer, vkeys, logger, nowMs } = options;
  const key = summaryKey(options.summarySeed);
  const reports = join(dir, 'reports');
  const days = join(dir, 'summaries');
  for (const made of [reports, days]) await makeDirectory(made);
  const kept = await readSummaries(days, key);
  /** Those whose whole report is there too. */
  const whole = await readReports(reports, kept);
  let last: Promise<void> = Promise.resolve();

  const prune = async (): Promise<void> => {
    const before = (ms: number) => new Date(nowMs() - ms).toISOString();
    for (const { id } of takeOld(whole, before(REPORT_MS), MAX_REPORTS)) await remove(reports, id);
    takeOld(kept, before(SUMMARY_MS), MAX_SUMMARIES);
    for (const day of await readdir(days)) if (day < dayOf(before(SUMMARY_MS))) await remove(days, day);
  };

  const keep = async (proof: SelfAttestation): Promise<void> => {
    await prune(); // first: it may be what makes room
    const report = makeReport(proof, kept.at(-1)?.id ?? null);
    const { id, at, state, codes, trust, previous } = report;
    const summary: Summary = { id, at, atMs: Date.parse(at), state, codes, trust, previous };
    await replaceDurably(join(reports, id), signReport(report, signer));
    await appendRegularFile(join(days, dayOf(at)), formatSummaryLine(summary, key), MAX_DAY_BYTES);
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
    async find(id) {
      if (!whole.some((report) => report.id === id)) return null; // so no name but our own reaches the disk
      const note = (await readRegularFile(join(reports, id), MAX_REPORT_BYTES))?.toString();
      try {
        return note !== undefined && openReport(note, vkeys()).id === id ? note : null;
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

const remove = (directory: string, name: string): Promise<void> =>
  rm(join(directory, name), { force: true, recursive: true });

/**
 * Of the newest days, each once, however often its line was copied. Removes what stands in the place of a day and is
 * none: it could not be appended to.
 */
async function readSummaries(days: string, key: Uint8Array): Promise<Summary[]> {
  const summaries = new Map<string, Summary>();
  for (const day of (await readdir(days)).sort().slice(-MAX_DAYS)) {
    const text = (await readRegularFile(join(days, day), MAX_DAY_BYTES))?.toString();
    if (text === undefined) await remove(days, day);
    else for (const line of readSummaryLines(text, key)) if (!summaries.has(line.id)) summaries.set(line.id, line);
  }
  return [...summaries.values()];
}

/** Removes what has no line: half-written, or written just before a crash. */
async function readReports(reports: string, summaries: readonly Summary[]): Promise<Summary[]> {
  const names = new Set(await readdir(reports));
  const whole = summaries.filter(({ id }) => names.delete(id));
  for (const name of names) await remove(reports, name);
  return whole;
}
