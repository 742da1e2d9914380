/** A report is a C2SP signed note that a stranger checks with @abaton/verify alone. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, test } from 'node:test';
import { canonicalize, parsePolicy, parseVkey, verifyEvidence, verifyNote } from '@abaton/verify';
import { makeReport, openReport, type Report, signReport } from '../../src/trust/report.ts';
import { type AttestedServer, startAttested } from '../tee/attested-server.ts';
import { proofAt, SEED, START_MS, signerOf } from './support.ts';

const signer = signerOf(SEED);
let server: AttestedServer;
let report: Report;
let note: string;

before(async () => {
  server = await startAttested();
  await server.boot();
  report = makeReport(server.monitor.newest()!, null);
  note = signReport(report, signer);
});
after(() => server.close());

test('the note verifies under the log key, holds canonical JSON, and its evidence can be judged again', async (t) => {
  const { text } = verifyNote(note, [parseVkey(signer.vkey)]);
  assert.equal(text, `${canonicalize(JSON.parse(text))}\n`);
  const opened = openReport(note, [signer.vkey]);
  assert.deepEqual(opened, report);
  assert.deepEqual([opened.state, opened.trust, opened.tcbStatus], ['verified', 'simulated', 'UpToDate']);
  assert.equal('send' in opened.verdict! || 'valid' in opened.verdict!, false);
  const { evidence } = opened;
  if (evidence?.teeType !== 'intel-tdx') return assert.fail('a TDX quote');
  assert.equal(opened.id, createHash('sha256').update(Buffer.from(evidence.quote, 'hex')).digest('hex'));
  const judged = await verifyEvidence({
    evidence,
    policy: parsePolicy(server.tee.policy),
    nowMs: Date.now(),
    expect: { nonce: evidence.reportData.nonce, tlsSpkiSha256: server.binding.tlsSpkiSha256 },
    acceptedRootsSha256: [server.tee.rootSha256],
  });
  assert.equal(judged.valid, true);
  t.diagnostic(`${note.length} characters`);
});

test('a flipped bit anywhere, another key and another signer are refused', () => {
  const bytes = Buffer.from(note);
  for (let at = 0; at < bytes.length; at += Math.ceil(bytes.length / 200)) {
    const flipped = Buffer.from(bytes);
    flipped[at]! ^= 1;
    assert.throws(() => openReport(flipped.toString(), [signer.vkey]), { code: /^CHECKPOINT_/ }, `byte ${at}`);
  }
  const other = signerOf(new Uint8Array(32).fill(7));
  assert.throws(() => openReport(note, [other.vkey]), { code: 'CHECKPOINT_UNSIGNED' });
  const digit = note.replace('"state":"verified"', '"state":"failed"');
  assert.throws(() => openReport(digit, [signer.vkey]), { code: 'CHECKPOINT_SIGNATURE_INVALID' });
});

test('a checkpoint of the same key, and JSON of another kind, are no reports', () => {
  for (const text of ['abaton.test/audit\n1\nAAAA\n', `${canonicalize({ ...report, kind: 'statement' })}\n`])
    assert.throws(() => openReport(`${text}\n${signer.sign(text)}`, [signer.vkey]), { code: 'LOG_CORRUPT' });
});

test('without a quote the id is the digest of the report with null in its place', () => {
  const failed = proofAt(START_MS, { id: null, state: 'failed', codes: ['AGENT_UNAVAILABLE'], trust: 'none' });
  const { id, ...body } = makeReport(failed, 'before');
  assert.equal(
    id,
    createHash('sha256')
      .update(canonicalize({ ...body, id: null }))
      .digest('hex'),
  );
  assert.notEqual(makeReport(failed, 'other').id, id);
});

test('evidence that no note can hold is left out, and the report still opens', () => {
  const proof = server.monitor.newest()!;
  const evidence = { ...proof.evidence!, appCompose: 'x'.repeat(600_000) };
  const large = makeReport({ ...proof, evidence }, null);
  assert.equal(large.evidence, null);
  assert.equal(openReport(signReport(large, signer), [signer.vkey]).id, proof.id);
});
