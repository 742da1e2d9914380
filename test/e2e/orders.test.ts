/** An officer reads the log of a real server by the command: who received what of a patient, and everything in three forms. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { awaitAnalysis, connectVerified, sendFiles } from '@abaton/client';
import { drawPhantom } from '../../packages/server/src/imaging/phantom.ts';
import { enrolOfficer, type Officer } from './officer.ts';
import { root, type Stack, startStack } from './stack.ts';

const STUDY = '2.25.4711';
const [PATIENT, ISSUER] = ['PHANTOM', 'ABATON']; // drawPhantom's

let stack: Stack;
let officer: Officer;
before(async () => {
  stack = await startStack();
  officer = enrolOfficer(stack);
  await stack.startServer({ ABATON_MANIFEST: officer.manifestFile });
  const file = join(stack.dir, 'phantom.dcm');
  writeFileSync(file, drawPhantom({ studyInstanceUid: STUDY, ageYears: 4, now: new Date() }));
  const connection = await connectVerified(stack.trust());
  await sendFiles(connection, [file]);
  await awaitAnalysis(connection, STUDY);
  await (await connection.request({ method: 'GET', path: `/dicom-web/studies/${STUDY}` })).bytes();
  connection.close();
});
after(() => stack.close());

async function audit(...args: string[]): Promise<string> {
  const command = join(root, 'packages/cli/bin/abaton.mjs');
  const { url } = stack.trust();
  const { policyFile, rootSha256 } = stack.softTee;
  const trust = ['--url', url, '--policy', policyFile, '--accept-simulated', rootSha256];
  const all = [command, 'audit', ...args, ...trust, '--key', officer.keyFile, '--name', officer.keyName];
  return (await promisify(execFile)(process.execPath, all)).stdout;
}

test('the accounting of the patient names what was read, when, by whom and for what', async () => {
  const text = await audit('account', '--patient', PATIENT, '--issuer', ISSUER);
  assert.match(text, /^Accounting of disclosures from \d{4}-/);
  assert.match(text, /\nDisclosures: 2\n {2}\S+Z {2}read {2}anonymous at 127\.0\.0\.1 {2}result .* HTEST\n/);
  assert.match(text, /\nFor treatment, payment or operations: 0\n/);
  assert.match(text, /\n {2}\S+Z {2}create {2}/);
  assert.match(text, /\n {2}\S+Z {2}execute {2}abaton\//);
  const { order, answer } = JSON.parse(await audit('account', '--patient', PATIENT, '--issuer', ISSUER, '--json'));
  assert.deepEqual([order.do, order.officer, answer.disclosures.length], ['account', 'A. Officer', 2]);
  // the same number from another issuer is somebody else
  const nobody = JSON.parse(await audit('account', '--patient', PATIENT, '--json'));
  assert.deepEqual(nobody.answer.disclosures, []);
});

test('the export of a running server is whole, in each form, and names no patient', async () => {
  const ends = { fhir: '}\n', dicom: '</AuditMessages>\n', csv: '"\r\n' };
  for (const [format, end] of Object.entries(ends)) {
    const out = join(stack.dir, `log.${format}`);
    assert.match(await audit('export', '--format', format, '--out', out), /^\d+ bytes; the export is entry \d+ of/);
    const text = readFileSync(out, 'utf8');
    assert.ok(text.endsWith(end) && !existsSync(`${out}.part`));
    assert.ok(!text.includes(PATIENT));
  }
  const lines = readFileSync(join(stack.dir, 'log.fhir'), 'utf8').trimEnd().split('\n');
  const actions = lines.map((line) => JSON.parse(line).subtype.at(-1).code);
  for (const action of ['110120', 'attest', 'gate', 'create', 'execute', 'read', 'order'])
    assert.ok(actions.includes(action), action);
});
