/** What people read and what scripts see: every outcome looks different, and only what was scored has a score (I10). */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { AnalysisResult } from '@abaton/client';
import { ConfigurationError, RejectedError, UnavailableError, type Verdict } from '@abaton/verify';
import { type AnalyzeReport, exitCodeOfReport, listFiles, renderReport } from '../src/analyze-command.ts';
import { exitCodeOf, jsonOfError, messageOf } from '../src/exit.ts';
import { createProgress, formatBytes } from '../src/progress.ts';

const AB = 'ab'.repeat(32);
const verdict = {
  send: 'synthetic-only',
  trust: 'simulated',
  teeType: 'intel-tdx',
  codeHash: `sha256:${AB}`,
} as Verdict;

function report(outcome: AnalysisResult['outcome'], change: Partial<AnalyzeReport['studies'][0]> = {}): AnalyzeReport {
  const result = {
    outcome,
    demonstration: false,
    label: 'reference model, not for clinical use',
    model: outcome === 'no-model' ? null : { title: 'Model', digest: AB },
    finding:
      outcome === 'scored'
        ? { display: 'Pneumonia', score: 0.25, operatingPoint: 0.25, aboveOperatingPoint: true }
        : null,
    reasons: outcome === 'scored' ? [] : [`because of ${outcome}`],
    codeHash: `sha256:${AB}`,
    evidenceId: AB,
  } as unknown as AnalysisResult;
  const proof = { index: 4, entry: '{}', checkpoint: '', hashes: [] };
  const results = [{ result, proof, logSize: 9, logOrigin: 'origin' }];
  return {
    verdict,
    keyExchange: 'X25519MLKEM768',
    sent: { files: 1, stored: 1, failures: [] },
    studies: [{ studyInstanceUid: '1.2.3', state: 'complete', results, ...change }],
  };
}

test('every outcome looks different, and only one has a score', () => {
  const texts = (['scored', 'out-of-scope', 'no-model', 'failed'] as const).map((outcome) =>
    renderReport(report(outcome)),
  );
  const [scored, outOfScope, noModel, failed] = texts as [string, string, string, string];
  assert.match(scored, /Model: Pneumonia, score 0\.25 \(uncalibrated; at or above the operating point 0\.25\)/);
  assert.match(outOfScope, /Model: out of scope\n {4}because of out-of-scope\n/);
  assert.match(noModel, /No model for this study\n/);
  assert.match(failed, /Model: failed\n {4}because of failed\n/);
  for (const text of [outOfScope, noModel, failed]) assert.doesNotMatch(text, /score|below|negative/i);
  for (const text of texts)
    assert.match(text, /SIMULATED[\s\S]*Proof: entry 4 is in the log of 9 entries signed by origin/);
  assert.match(
    renderReport(report('failed', { state: 'failed', results: [] })),
    /Study 1\.2\.3: failed; nothing is known of it/,
  );
});

test('the exit code: refused instances are to be fixed, a failed study is to be tried again', () => {
  assert.equal(exitCodeOfReport(report('scored')), 0);
  assert.equal(exitCodeOfReport(report('out-of-scope')), 0);
  assert.equal(exitCodeOfReport(report('no-model')), 0);
  assert.equal(exitCodeOfReport(report('failed')), 2);
  assert.equal(exitCodeOfReport(report('scored', { state: 'failed', results: [] })), 2);
  const sent = { files: 2, stored: 1, failures: [{ reason: 0xc000, sopInstanceUid: null, comment: 'DICOM_NOT' }] };
  assert.equal(exitCodeOfReport({ ...report('failed'), sent }), 1);
});

test('errors by what the caller must do; what is not ours is a defect, and names no code of its own', () => {
  const system = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });
  const rows: [unknown, number, string][] = [
    [new ConfigurationError('USAGE', 'x'), 1, 'USAGE'],
    [new UnavailableError('CONNECTION_LOST', 'x'), 2, 'CONNECTION_LOST'],
    [new RejectedError('PROOF_INVALID', 'x'), 3, 'PROOF_INVALID'],
    [system, 2, 'INTERNAL'],
    ['text', 2, 'INTERNAL'],
  ];
  for (const [error, exit, code] of rows) {
    assert.equal(exitCodeOf(error), exit);
    assert.equal(jsonOfError(error).error.code, code);
  }
  assert.equal(messageOf(rows[0]![0]), 'USAGE: x');
  assert.equal(messageOf(system), 'read ECONNRESET');
});

test('files as they are named, folders with all below them, in order', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'abaton-list-'));
  t.after(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'b/c'), { recursive: true });
  for (const name of ['b/c/2', 'b/1', 'a']) writeFileSync(join(folder, name), '');
  assert.deepEqual(
    listFiles([join(folder, 'b'), join(folder, 'a')]),
    ['b/1', 'b/c/2', 'a'].map((name) => join(folder, name)),
  );
  for (const paths of [[], [join(folder, 'none')]]) assert.throws(() => listFiles(paths), { code: 'USAGE' });
});

test('progress is drawn on a terminal, and nowhere else', () => {
  const draw = (isTTY: boolean) => {
    const written: string[] = [];
    const progress = createProgress('Sending', { isTTY, write: (text: string) => written.push(text) } as never);
    progress.bytes(0, 2000);
    progress.bytes(2000, 2000);
    progress.note('study 1 of 1');
    progress.end();
    return written.join('');
  };
  assert.equal(draw(false), '');
  assert.match(draw(true), /Sending █{24} 100 % {2}2\.0 kB of 2\.0 kB[\s\S]*study 1 of 1/);
  assert.deepEqual([0, 999, 1000, 1_536_000, 5e9].map(formatBytes), ['0 B', '999 B', '1.0 kB', '1.5 MB', '5.0 GB']);
});
