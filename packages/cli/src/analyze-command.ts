/** `abaton analyze`: verify first, send over the same connection, wait, print findings and proof. */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import {
  type AnalysisResult,
  awaitAnalysis,
  connectVerified,
  NotVerifiedError,
  type ProvenResult,
  type StoreAnswer,
  sendFiles,
  type VerifyOptions,
} from '@abaton/client';
import { ConfigurationError, summarizeVerdict, type Verdict } from '@abaton/verify';
import { EXIT } from './exit.ts';
import { printable, printableJson } from './printable.ts';
import { createProgress } from './progress.ts';
import { readTrust, type TrustFlags } from './trust-options.ts';
import { renderVerdict } from './verify-command.ts';

export async function runAnalyze(
  paths: string[],
  flags: TrustFlags & { url: string; json?: boolean },
): Promise<number> {
  const report = await analyze(listFiles(paths), readTrust(flags.url, flags)).catch((error) => {
    if (!flags.json && error instanceof NotVerifiedError)
      process.stdout.write(`${renderVerdict(error.verdict)}\n\nNothing was sent.\n`);
    throw error;
  });
  process.stdout.write(flags.json ? `${printableJson(JSON.stringify(report))}\n` : renderReport(report));
  return exitCodeOfReport(report);
}

export interface AnalyzeReport {
  verdict: Verdict;
  keyExchange: string | null;
  sent: { files: number; stored: number; failures: StoreAnswer['failures'] };
  studies: { studyInstanceUid: string; state: 'complete' | 'failed'; results: ProvenResult[] }[];
}

/** The whole path, for the command and for `npm start`. */
export async function analyze(files: string[], trust: VerifyOptions): Promise<AnalyzeReport> {
  const connection = await connectVerified(trust);
  try {
    const sending = createProgress('Sending');
    const answer = await sendFiles(connection, files, sending.bytes).finally(sending.end);
    const waiting = createProgress('Analysing');
    const studies: AnalyzeReport['studies'] = [];
    for (const studyInstanceUid of answer.studies) {
      waiting.note(`study ${studies.length + 1} of ${answer.studies.length}`);
      studies.push({ studyInstanceUid, ...(await awaitAnalysis(connection, studyInstanceUid).finally(waiting.end)) });
    }
    return {
      verdict: connection.verdict,
      keyExchange: connection.keyExchange,
      sent: { files: files.length, stored: answer.stored, failures: answer.failures },
      studies,
    };
  } finally {
    connection.close();
  }
}

/** Refused instances are the sender's to fix (1); a study that could not be analysed may be tried again (2). */
export function exitCodeOfReport({ sent, studies }: AnalyzeReport): number {
  if (sent.failures.length > 0) return EXIT.usage;
  const failed = studies.some(
    ({ state, results }) => state === 'failed' || results.some(({ result }) => result.outcome === 'failed'),
  );
  return failed ? EXIT.unavailable : EXIT.ok;
}

/**
 * Files as they are named; folders with all below them, in name order. Links inside folders are not followed: nothing is
 * sent that was not named. Throws USAGE when there is none, or one is no regular file.
 */
export function listFiles(paths: string[]): string[] {
  const files = paths.flatMap((path, i) => {
    try {
      const found = statSync(path);
      if (found.isDirectory()) return walk(path);
      if (found.isFile()) return [path];
    } catch (cause) {
      // Names of files are often names of patients: they are counted, not printed.
      throw new ConfigurationError('USAGE', `Path ${i + 1} cannot be read.`, { cause });
    }
    throw new ConfigurationError('USAGE', `Path ${i + 1} is neither a file nor a folder.`);
  });
  if (files.length === 0) throw new ConfigurationError('USAGE', 'There is no file to send.');
  return files;
}

function walk(folder: string): string[] {
  const entries = readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
  return entries.flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? walk(path) : entry.isFile() ? [path] : [];
  });
}

export function renderReport({ verdict, keyExchange, sent, studies }: AnalyzeReport): string {
  const lines = [
    `✓ Verified before sending: ${summarizeVerdict(verdict).headline}`,
    `  TEE ${verdict.teeType}${verdict.trust === 'simulated' ? ' (SIMULATED)' : ''}, code ${shorten(verdict.codeHash)}, key exchange ${keyExchange ?? 'not reported'}`,
    '',
    `Sent ${sent.files} file${sent.files === 1 ? '' : 's'}: ${sent.stored} stored, ${sent.failures.length} refused`,
    ...sent.failures.map(({ reason, comment }) =>
      `  ✗ 0x${reason.toString(16).toUpperCase().padStart(4, '0')} ${comment ?? ''}`.trimEnd(),
    ),
  ];
  for (const { studyInstanceUid, state, results } of studies) {
    lines.push('', `Study ${studyInstanceUid}${state === 'failed' ? ': failed; nothing is known of it' : ''}`);
    for (const { result, proof, logSize, logOrigin } of results) {
      lines.push(
        result.model ? `  ${result.model.title}: ${renderOutcome(result)}` : '  No model for this study',
        ...(result.model ? [...result.reasons, result.label].map((line) => `    ${line}`) : []),
        `  Proof: entry ${proof.index} is in the log of ${logSize} entries signed by ${logOrigin}`,
        `    model ${shorten(result.model?.digest ?? null)}  code ${shorten(result.codeHash)}  evidence ${shorten(result.evidenceId)}`,
      );
    }
  }
  return `${lines.map(printable).join('\n')}\n`;
}

function renderOutcome({ outcome, finding }: AnalysisResult): string {
  if (outcome !== 'scored' || !finding) return outcome.replaceAll('-', ' ');
  const side = finding.aboveOperatingPoint ? 'at or above' : 'below';
  return `${finding.display}, score ${finding.score} (uncalibrated; ${side} the operating point ${finding.operatingPoint})`;
}

const shorten = (digest: string | null): string => (digest ? `${digest.replace('sha256:', '').slice(0, 12)}…` : 'none');
