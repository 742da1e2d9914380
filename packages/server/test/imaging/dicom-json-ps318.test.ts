/** PS3.18 Annex F against dcm2json of DCMTK, for every small file of the corpus that both take. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type JsonDataset, toDicomJson } from '../../src/imaging/dicom-json.ts';
import { ATTRIBUTES } from '../../src/imaging/tags.ts';
import { corpus, corpusFile, corpusPath, outcomeOf, scan, tool } from './support.ts';

const KNOWN = new Set(Object.values(ATTRIBUTES).map(([tag]) => tag.toString(16).toUpperCase().padStart(8, '0')));

/**
 * What the two may write differently: bulk data (DCMTK writes base64 of big endian or nothing), numbers as text or not,
 * the spelling of DS, elements that the scanner leaves out, and the VRs of an implicit VR file that only DCMTK's
 * dictionary knows.
 */
function comparable(json: JsonDataset, implicit: boolean): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [tag, { vr, Value }] of Object.entries(json)) {
    if (tag.startsWith('0002') || tag.endsWith('0000') || tag >= '7FE00000' || vr.startsWith('O') || vr === 'UN')
      continue;
    if (implicit && !KNOWN.has(tag)) continue;
    const values = (Value ?? []).map((value) => {
      if (['DS', 'IS', 'FL', 'FD'].includes(vr)) return Math.fround(Number(value));
      if (vr === 'SQ') return comparable(value as JsonDataset, implicit);
      if (vr === 'PN' && value !== null)
        return Object.values(value).map((group) => String(group).trim().replace(/\^+$/, ''));
      return typeof value === 'string' ? value.trim() : value;
    });
    out[tag] = { vr, values: values.filter((value) => value !== null && value !== '') };
  }
  return out;
}

test('the same attributes, VRs and values', (t) => {
  const rows = corpus(t)?.filter(
    ({ file, bytes }) => Number(bytes) < 200_000 && outcomeOf([corpusFile(file!)]) === 'read',
  );
  if (!rows) return;
  let compared = 0;
  for (const { file } of rows) {
    const answer = tool(t, 'dcm2json', ['-q', corpusPath(file!)]);
    if (!answer) return;
    const theirs = parse(answer.output);
    if (!theirs) continue; // DCMTK refuses some files
    const { dataset, transferSyntaxUid } = scan(corpusFile(file!));
    const implicit = transferSyntaxUid === '1.2.840.10008.1.2';
    const [a, b] = [toDicomJson(dataset), theirs].map((json) => comparable(json, implicit));
    for (const tag of Object.keys(b!)) assert.deepEqual(a![tag], b![tag], `${file} ${tag}`);
    compared++;
  }
  assert.ok(compared >= 80, `only ${compared} compared`);
});

function parse(output: string): JsonDataset | null {
  try {
    // It stops at compressed pixel data, in the middle of the object.
    const whole = output.replace(/,\s*\}\s*F: JSON InlineBinary.*$/s, '}');
    return JSON.parse(Buffer.from(whole, 'latin1').toString('utf8'));
  } catch {
    return null;
  }
}
