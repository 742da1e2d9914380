/** Analysis results of each outcome, for the tests of what is made of them. */
import type { AnalysisResult } from '../../src/imaging/analysis.ts';
import type { Dataset } from '../../src/imaging/dataset.ts';
import { drawPhantom } from '../../src/imaging/phantom.ts';
import { text } from '../../src/imaging/values.ts';
import { scan } from './support.ts';

export const NOW = new Date('2026-11-24T22:30:05.123Z');

export const phantomFile = (): Uint8Array => drawPhantom({ studyInstanceUid: '2.25.123456789', ageYears: 4, now: NOW });
export const phantom = (): Dataset => scan(phantomFile()).dataset;

export function resultFor(
  source: Dataset,
  outcome: AnalysisResult['outcome'],
  about: Partial<AnalysisResult> = {},
): AnalysisResult {
  return {
    version: 1,
    id: 'a1'.repeat(32),
    studyInstanceUid: text(source, 'StudyInstanceUID'),
    outcome,
    demonstration: false,
    label: 'reference model, not for clinical use',
    model:
      outcome === 'no-model'
        ? null
        : {
            id: 'chest-xray-ai',
            title: 'Paediatric pneumonia reference model',
            modelVersion: '1.0.0',
            manufacturer: 'Abaton project',
            digest: 'd2'.repeat(32),
          },
    finding:
      outcome === 'scored'
        ? {
            code: '233604007',
            scheme: 'SCT',
            display: 'Pneumonia',
            score: 0.7312,
            operatingPoint: 0.4125,
            aboveOperatingPoint: true,
          }
        : null,
    reasons: outcome === 'scored' ? [] : ['patient age 44 years is outside 1–5 years'],
    source: {
      seriesInstanceUid: text(source, 'SeriesInstanceUID'),
      sopInstanceUid: text(source, 'SOPInstanceUID'),
      sopClassUid: text(source, 'SOPClassUID'),
    },
    inputDigest: 'b3'.repeat(32),
    codeHash: `sha256:${'c4'.repeat(32)}`,
    evidenceId: 'e5'.repeat(32),
    createdAt: NOW.toISOString(),
    sr: null,
    diagnosticReportId: 'a1'.repeat(32),
    logSalt: '00'.repeat(32),
    ...about,
  };
}

export const OUTCOMES = ['scored', 'out-of-scope', 'no-model', 'failed'] as const;
