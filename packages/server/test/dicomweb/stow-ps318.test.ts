/** STOW-RS: PS3.18 section 10.5 and Annex I. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { badFiles, reasonOf } from './bad-files.ts';
import { ask, expectContinue, multipart } from './client.ts';
import { type House, openHouse } from './house.ts';
import { imageFile, SECONDARY_CAPTURE } from './part10.ts';
import { parseStoreModule } from './store-module.ts';

const DATA = process.env.ABATON_TEST_DATA ?? fileURLToPath(new URL('../../../../../shared/data', import.meta.url));
const PATH = '/dicom-web/studies';

let house: House;
before(async () => {
  house = await openHouse({ maxConcurrentUploads: 2 });
});
after(() => house.close());
beforeEach(() => {
  house.events.length = 0;
  house.lines.length = 0;
});

let serial = 0;
/** UIDs that nothing used before. */
const newStudy = () => `1.2.826.0.1.3680043.10.1.${++serial}`;
const imageOf = (study: string, n = 1, patientId = `ID-${study}`) =>
  imageFile({
    study,
    series: `${study}.1`,
    instance: `${study}.1.${n}`,
    more: { '00100010': ['PN', 'Canary^Cäcilie'], '00100020': ['LO', patientId] },
  });
const post = (files: readonly Uint8Array[], { path = PATH, version = 1 as 1 | 2, headers = {} } = {}) => {
  const message = multipart(files);
  return ask(house.port, {
    method: 'POST',
    path,
    version,
    headers: { ...message.headers, ...headers },
    body: message.body,
  });
};

for (const version of [1, 2] as const)
  test(`an instance is stored and referenced, over HTTP/${version}`, async () => {
    const study = newStudy();
    const file = imageOf(study);
    const module = parseStoreModule(await post([file], { version }));
    const base = `https://127.0.0.1:${house.port}/dicom-web/studies/${study}`;
    assert.deepEqual(module, {
      retrieveUrl: base,
      stored: [
        {
          sopClassUid: SECONDARY_CAPTURE,
          sopInstanceUid: `${study}.1.1`,
          retrieveUrl: `${base}/series/${study}.1/instances/${study}.1.1`,
        },
      ],
      failed: [],
      other: [],
    });
    const { pathname } = new URL(module.stored[0]!.retrieveUrl);
    const back = await ask(house.port, { path: pathname, version, headers: { accept: 'application/dicom' } });
    assert.ok(back.body.equals(file), 'the Retrieve URL gives back the same bytes');
    assert.equal(await house.archive.studyState(house.archive.studyRef(study)), 'queued');
  });

test('a body of application/dicom is one instance', async () => {
  const study = newStudy();
  const headers = { 'content-type': 'application/dicom' };
  const answer = await ask(house.port, { method: 'POST', path: PATH, headers, body: imageOf(study) });
  assert.equal(parseStoreModule(answer).stored[0]!.sopInstanceUid, `${study}.1.1`);
});

test('every bad input gets its own failure reason, and the rest is kept', async () => {
  const study = newStudy();
  const bad = badFiles(`${study}.666`);
  const answer = await post([imageOf(study, 1), ...bad.map(({ file }) => file), imageOf(study, 2)]);
  assert.equal(answer.status, 202);
  const module = parseStoreModule(answer);
  assert.deepEqual(
    module.stored.map(({ sopInstanceUid }) => sopInstanceUid),
    [`${study}.1.1`, `${study}.1.2`],
  );
  const reasons = (named: boolean) =>
    bad.filter((file) => file.named === named).map(({ failure }) => reasonOf(failure));
  assert.deepEqual(
    module.failed.map(({ reason }) => reason),
    reasons(true),
  );
  assert.deepEqual(
    module.other.map(({ reason }) => reason),
    reasons(false),
  );
  const kinds = bad.filter(({ name }) => name !== 'ELF preamble');
  assert.equal(new Set(kinds.map(({ failure }) => reasonOf(failure))).size, kinds.length);
  // Alone, each of them is a 409; and afterwards the server still stores.
  for (const { file, name } of bad) assert.equal((await post([file])).status, 409, name);
  assert.equal((await post([imageOf(newStudy())])).status, 200);
});

test('the malformed files of the corpus: each is stored or refused, and the server stays up', async (t) => {
  const folder = join(DATA, 'imaging/dicom/malformed');
  if (!existsSync(folder)) return t.skip('needs ABATON_TEST_DATA');
  const before = (await house.blobNames()).length;
  const files = readdirSync(folder).map((name) => readFileSync(join(folder, name)));
  const module = parseStoreModule(await post(files));
  const { stored, failed, other } = module;
  assert.equal(stored.length + failed.length + other.length, files.length);
  assert.ok(failed.length + other.length >= 3, 'truncated and meta-less files are among them');
  assert.equal((await house.blobNames()).length, before + stored.length, 'nothing is left of what was refused');
  assert.equal((await post([imageOf(newStudy())])).status, 200);
});

test('files made by DCMTK are stored as they are', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'abaton-dcmtk-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const study = newStudy();
  const dump = `(0008,0016) UI [${SECONDARY_CAPTURE}]\n(0008,0018) UI [${study}.9]\n(0010,0010) PN [Müller^Rüdiger]
(0008,0005) CS [ISO_IR 100]\n(0010,0020) LO [4711]\n(0020,000d) UI [${study}]\n(0020,000e) UI [${study}.8]
(0028,0002) US 1\n(0028,0004) CS [MONOCHROME2]\n(0028,0010) US 2\n(0028,0011) US 2\n(0028,0100) US 8
(0028,0101) US 8\n(0028,0102) US 7\n(0028,0103) US 0\n(7fe0,0010) OW 0102\\0304\n`;
  writeFileSync(join(dir, 'dump'), Buffer.from(dump, 'latin1'));
  try {
    execFileSync('dump2dcm', ['-q', '+te', join(dir, 'dump'), join(dir, 'a.dcm')]);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || process.env.REQUIRE_SYSTEM === '1') throw error;
    return t.skip('needs dcmtk: run scripts/system-deps.sh');
  }
  for (const [option, uid] of [
    ['+te', '1.2.840.10008.1.2.1'],
    ['+ti', '1.2.840.10008.1.2'],
    ['+tb', '1.2.840.10008.1.2.2'],
    ['+td', '1.2.840.10008.1.2.1.99'],
  ] as const) {
    execFileSync('dcmconv', ['-q', option, join(dir, 'a.dcm'), join(dir, 'b.dcm')]);
    const instance = `${study}.9.${++serial}`;
    execFileSync('dcmodify', ['-q', '-nb', '-m', `(0008,0018)=${instance}`, join(dir, 'b.dcm')]);
    const file = readFileSync(join(dir, 'b.dcm'));
    assert.equal(parseStoreModule(await post([file])).stored.length, 1, option);
    const found = await house.archive.findInstance(study, `${study}.8`, instance);
    assert.equal(found?.transferSyntaxUid, uid);
  }
});

test('the same instance again is acknowledged; with other bytes it is a failure, and the first is kept', async () => {
  const study = newStudy();
  await post([imageOf(study)]);
  const before = await house.blobNames();
  assert.equal(parseStoreModule(await post([imageOf(study)])).stored.length, 1);
  const changed = imageOf(study);
  changed[changed.length - 1]! ^= 1;
  const module = parseStoreModule(await post([changed, imageOf(study, 2)]));
  assert.deepEqual(
    module.failed.map(({ sopInstanceUid, reason }) => [sopInstanceUid, reason]),
    [[`${study}.1.1`, 0x0111]],
  );
  assert.equal((await house.blobNames()).length, before.length + 1, 'one blob for each row, none for the copies');
});

test('POST to a study takes that study only', async () => {
  const [study, other] = [newStudy(), newStudy()];
  const before = (await house.blobNames()).length;
  const module = parseStoreModule(await post([imageOf(study), imageOf(other)], { path: `${PATH}/${study}` }));
  assert.deepEqual(
    module.failed.map(({ sopInstanceUid, reason }) => [sopInstanceUid, reason]),
    [[`${other}.1.1`, 0xa910]],
  );
  assert.equal(module.stored.length, 1);
  assert.equal((await house.blobNames()).length, before + 1);
  assert.equal(await house.archive.studyState(house.archive.studyRef(other)), 'unknown');
  const all = parseStoreModule(await post([imageOf(other)], { path: `${PATH}/${study}` }));
  assert.equal(all.retrieveUrl, null);
  assert.equal((await post([imageOf(other)], { path: `${PATH}/not-a-uid` })).status, 400);
});

test('a part of another media type is refused without its UIDs', async () => {
  const message = multipart([imageOf(newStudy())], 'image/jpeg');
  const module = parseStoreModule(await ask(house.port, { method: 'POST', path: PATH, ...message }));
  assert.deepEqual(module, { retrieveUrl: null, stored: [], failed: [], other: [{ reason: 0xc000 }] });
});

test('what is not a store request is refused before its body', async () => {
  const body = multipart([imageOf(newStudy())]).body;
  const cases: [status: number, headers: Record<string, string>][] = [
    [415, {}],
    [415, { 'content-type': 'multipart/form-data; boundary=x' }],
    [415, { 'content-type': 'multipart/related; type="application/dicom+json"; boundary=x' }],
    [415, { 'content-type': 'application/dicom', 'content-encoding': 'gzip' }],
    [400, { 'content-type': 'multipart/related; type="application/dicom"' }],
    [400, { 'content-type': 'multipart/related; type="application/dicom"; boundary="ä"' }],
    [406, { 'content-type': 'application/dicom', accept: 'application/dicom+xml' }],
  ];
  for (const [status, headers] of cases) {
    const answer = await ask(house.port, { method: 'POST', path: PATH, headers, body });
    assert.equal(answer.status, status, JSON.stringify(headers));
  }
  const empty = await ask(house.port, { method: 'POST', path: PATH, ...multipart([]) });
  assert.equal(empty.status, 400);
  for (const method of ['PUT', 'DELETE', 'PATCH'])
    assert.equal((await ask(house.port, { method, path: PATH })).status, 405);
});

test('a malformed message keeps nothing of what came before the fault', async () => {
  const study = newStudy();
  const before = await house.blobNames();
  const { body, headers } = multipart([imageOf(study, 1), imageOf(study, 2)]);
  for (const version of [1, 2] as const) {
    const answer = await ask(house.port, { method: 'POST', path: PATH, headers, body: body.subarray(0, -20), version });
    assert.equal(answer.status, 400);
    assert.equal(JSON.parse(answer.body.toString()).code, 'REQUEST_INVALID');
  }
  assert.deepEqual(await house.blobNames(), before);
  assert.equal(await house.archive.studyState(house.archive.studyRef(study)), 'unknown');
});

test('an instance over the limit ends the request', async () => {
  const small = await openHouse({ maxInstanceBytes: 2000 });
  try {
    const study = newStudy();
    const message = multipart([imageOf(study), Buffer.concat([imageOf(study, 2), Buffer.alloc(2000)])]);
    const answer = await ask(small.port, { method: 'POST', path: PATH, ...message });
    assert.equal(answer.status, 413);
    assert.deepEqual(await small.blobNames(), []);
  } finally {
    await small.close();
  }
});

for (const version of [1, 2] as const)
  test(`a client that goes away in the middle leaves nothing behind, over HTTP/${version}`, async () => {
    const before = await house.blobNames();
    const study = newStudy();
    const { body, headers } = multipart([imageOf(study, 1), imageOf(study, 2)]);
    const blobs = async () => (await house.blobNames()).length;
    const died = Promise.withResolvers<number>();
    async function* source() {
      yield body.subarray(0, body.length - 40);
      while ((await blobs()) < before.length + 2) await sleep(10); // one that is finished, and one that is not
      died.resolve(await blobs());
      throw new Error('the client dies');
    }
    ask(house.port, { method: 'POST', path: PATH, headers, body: source(), version }).catch(() => {});
    assert.equal(await died.promise, before.length + 2);
    for (let i = 0; i < 250 && (await blobs()) > before.length; i++) await sleep(20);
    assert.deepEqual(await house.blobNames(), before);
    assert.equal(await house.archive.studyState(house.archive.studyRef(study)), 'unknown');
    assert.deepEqual(house.events, []);
  });

test('a closed gate takes no byte', async (t) => {
  house.world.attested = false;
  t.after(() => {
    house.world.attested = true;
  });
  const before = await house.blobNames();
  const answer = await post([imageOf(newStudy())]);
  assert.equal(answer.status, 503);
  assert.equal(JSON.parse(answer.body.toString()).code, 'GATE_CLOSED');
  assert.ok(answer.headers['retry-after']);
  // A client that waits for `100 Continue` never gets it: not one byte of the body leaves it.
  const { body, headers } = multipart([imageOf(newStudy())]);
  const outcome = await expectContinue(house.port, PATH, headers, body);
  assert.deepEqual(outcome, { continued: false, status: 503 });
  assert.deepEqual(await house.blobNames(), before);
});

test('Expect: 100-continue', async () => {
  const { body, headers } = multipart([imageOf(newStudy())]);
  assert.deepEqual(await expectContinue(house.port, PATH, headers, body), { continued: true, status: 200 });
});

test('a gate that closes during an upload ends it', async (t) => {
  t.after(() => {
    house.world.attested = true;
  });
  const before = await house.blobNames();
  const study = newStudy();
  const { body, headers } = multipart([imageOf(study, 1), imageOf(study, 2)]);
  async function* source() {
    yield body.subarray(0, body.length - 40);
    await sleep(100);
    house.world.attested = false;
    yield body.subarray(body.length - 40);
  }
  const answer = await ask(house.port, { method: 'POST', path: PATH, headers, body: source() });
  assert.equal(answer.status, 503);
  house.world.attested = true;
  assert.deepEqual(await house.blobNames(), before);
  assert.equal(await house.archive.studyState(house.archive.studyRef(study)), 'unknown');
});

test('without an audit log nothing is acknowledged', async (t) => {
  t.after(() => {
    house.world.diskFull = false;
  });
  house.world.diskFull = true;
  const study = newStudy();
  const answer = await post([imageOf(study)]);
  assert.equal(answer.status, 503);
  assert.equal(JSON.parse(answer.body.toString()).code, 'AUDIT_UNAVAILABLE');
  house.world.diskFull = false;
  while (!house.log.healthy()) await sleep(20);
  assert.equal(parseStoreModule(await post([imageOf(study)])).stored.length, 1, 'the client may send it again');
});

test('one event per study and patient; UIDs are sealed', async () => {
  const [one, two] = [newStudy(), newStudy()];
  await post([imageOf(one, 1), imageOf(two, 1), imageOf(one, 2), imageOf(one, 3, 'somebody else'), imageOf(one, 1)]);
  const summary = house.events.map(({ action, object, outcome, facts }) => [action, object?.ref, outcome, facts]);
  const refs = [house.archive.studyRef(one), house.archive.studyRef(two)];
  assert.deepEqual(summary, [
    ['create', refs[0], 'success', { stored: 2, identical: 1, conflict: 0 }],
    ['create', refs[1], 'success', { stored: 1, identical: 0, conflict: 0 }],
    ['create', refs[0], 'success', { stored: 1, identical: 0, conflict: 0 }],
  ]);
  assert.equal(new Set(house.events.map(({ patient }) => patient)).size, 3);
  for (let i = house.log.size() - 3; i < house.log.size(); i++) {
    const entry = Buffer.from(await house.log.current().entry(i)).toString();
    assert.ok(!entry.includes(one) && !entry.includes(two) && !entry.includes('somebody'), entry);
  }
});

test('more instances than one commit takes', async () => {
  const study = newStudy();
  const module = parseStoreModule(await post(Array.from({ length: 450 }, (_, i) => imageOf(study, i + 1))));
  assert.equal(module.stored.length, 450);
  assert.deepEqual(
    house.events.map(({ facts }) => facts),
    [{ stored: 450, identical: 0, conflict: 0 }],
  );
  assert.equal((await house.archive.inputOf(house.archive.studyRef(study))).instances.length, 450);
});

test('uploads beyond the limit are told to come back', async () => {
  const release = Promise.withResolvers<void>();
  const started: Promise<void>[] = [];
  const slow = () => {
    const { body, headers } = multipart([imageOf(newStudy())]);
    const first = Promise.withResolvers<void>();
    started.push(first.promise);
    async function* source() {
      yield body.subarray(0, 100);
      first.resolve();
      await release.promise;
      yield body.subarray(100);
    }
    return ask(house.port, { method: 'POST', path: PATH, headers, body: source() });
  };
  const slowAnswers = [slow(), slow()];
  await Promise.all(started);
  let refused = await post([imageOf(newStudy())]);
  for (let i = 0; i < 50 && refused.status !== 503; i++) refused = await post([imageOf(newStudy())]);
  assert.equal(refused.status, 503);
  assert.equal(JSON.parse(refused.body.toString()).code, 'OVERLOADED');
  assert.ok(Number(refused.headers['retry-after']) > 0);
  release.resolve();
  for (const answer of await Promise.all(slowAnswers)) assert.equal(answer.status, 200);
  assert.equal((await post([imageOf(newStudy())])).status, 200);
});

test('the server log and the metrics hold nothing of what came in', async () => {
  const study = newStudy();
  await post([imageOf(study), ...badFiles(study).map(({ file }) => file)], { path: `${PATH}/${study}` });
  await post([imageOf(study)], { headers: { accept: `text/${study}` } });
  const outside = `${house.lines.join('')}${house.deps.metrics.text()}`;
  assert.match(outside, /"route":"\/dicom-web\/studies\/:study"/);
  assert.match(outside, /abaton_stow_instances_total\{outcome="refused"\} \d+/);
  for (const secret of [study, 'Canary', 'Cäcilie', `ID-${study}`]) assert.ok(!outside.includes(secret), secret);
});
