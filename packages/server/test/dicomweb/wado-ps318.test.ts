/** WADO-RS: PS3.18 section 10.4. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseMediaType } from '../../src/http/dicomweb/media-types.ts';
import { readMultipart } from '../../src/http/dicomweb/multipart.ts';
import { type Answer, ask, multipart } from './client.ts';
import { type House, openHouse } from './house.ts';
import { element, fileHeader, imageFile, imageHeader, SECONDARY_CAPTURE } from './part10.ts';

const DATA = process.env.ABATON_TEST_DATA ?? fileURLToPath(new URL('../../../../../shared/data', import.meta.url));
const STUDY = '1.2.1';
const ONE = `/dicom-web/studies/${STUDY}/series/1.2.1.1/instances/1.2.1.1.1`;
const files = [1, 2].map((n) =>
  imageFile({
    study: STUDY,
    series: '1.2.1.1',
    instance: `1.2.1.1.${n}`,
    rows: 3,
    columns: 5,
    frames: 4,
    more: { '00100020': ['LO', `patient ${n}`], '00200013': ['IS', `${n}`] },
  }),
);

let house: House;
before(async () => {
  house = await openHouse();
  await store(files);
});
after(() => house.close());
beforeEach(() => {
  house.events.length = 0;
});

async function store(files: readonly Uint8Array[]): Promise<string[]> {
  const answer = await ask(house.port, { method: 'POST', path: '/dicom-web/studies', ...multipart(files) });
  assert.ok(answer.status === 200 || answer.status === 202, answer.body.toString());
  const items = JSON.parse(answer.body.toString())['00081199'].Value as Record<string, { Value: string[] }>[];
  return items.map((item) => new URL(item['00081190']!.Value[0]!).pathname);
}

const get = (path: string, accept?: string, version: 1 | 2 = 1) =>
  ask(house.port, { path, version, headers: accept === undefined ? {} : { accept } });

/** The parts of a multipart answer: their Content-Type and bytes. */
async function partsOf(answer: Answer, type: string): Promise<{ type: string; body: Buffer }[]> {
  assert.equal(answer.status, 200, answer.body.toString());
  const media = parseMediaType(answer.headers['content-type'])!;
  assert.equal(media.type, 'multipart/related');
  assert.equal(media.parameters.get('type'), type);
  const parts: { type: string; body: Buffer }[] = [];
  const source = (async function* () {
    yield answer.body;
  })();
  const limits = { maxPartBytes: 1 << 30, maxParts: 1000 };
  for await (const part of readMultipart(source, media.parameters.get('boundary')!, limits)) {
    const chunks: Uint8Array[] = [];
    for await (const chunk of part.body) chunks.push(chunk);
    parts.push({ type: part.headers.get('content-type')!, body: Buffer.concat(chunks) });
  }
  return parts;
}

const DICOM_PART = 'application/dicom; transfer-syntax=1.2.840.10008.1.2.1';

for (const version of [1, 2] as const)
  test(`study, series and instance come back byte for byte, over HTTP/${version}`, async () => {
    for (const path of [`/dicom-web/studies/${STUDY}`, `/dicom-web/studies/${STUDY}/series/1.2.1.1`]) {
      const parts = await partsOf(await get(path, undefined, version), 'application/dicom');
      assert.deepEqual(
        parts,
        files.map((body) => ({ type: DICOM_PART, body })),
        path,
      );
    }
    const [one] = await partsOf(
      await get(ONE, 'multipart/related; type="application/dicom"', version),
      'application/dicom',
    );
    assert.deepEqual(one, { type: DICOM_PART, body: files[0] });
    const single = await get(ONE, 'application/dicom', version);
    assert.equal(single.headers['content-type'], DICOM_PART);
    assert.equal(single.headers['content-length'], String(files[0]!.length));
    assert.ok(single.body.equals(files[0]!));
  });

test('what does not exist is NOT_FOUND, at every level', async () => {
  for (const path of [
    '9.9',
    `${STUDY}/series/9.9`,
    `${STUDY}/series/1.2.1.1/instances/9.9`,
    `9.9/series/1.2.1.1/instances/1.2.1.1.1`,
  ])
    for (const what of ['', '/metadata'])
      assert.equal((await get(`/dicom-web/studies/${path}${what}`)).status, 404, path + what);
  assert.equal((await get(`/dicom-web/studies/9.9/series/1.2.1.1/instances/1.2.1.1.1/frames/1`)).status, 404);
  assert.equal((await get(`/dicom-web/studies/x`)).status, 400);
  assert.equal((await ask(house.port, { method: 'DELETE', path: `/dicom-web/studies/${STUDY}` })).status, 405);
  assert.deepEqual(house.events, []);
});

test('Accept: what is stored, as it is stored', async () => {
  for (const [path, accept, status] of [
    [ONE, '*/*', 200],
    [ONE, 'multipart/*', 200],
    [ONE, 'multipart/related; type=application/dicom; transfer-syntax=*', 200],
    [ONE, 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.1', 200],
    [ONE, 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.90', 406],
    [ONE, 'image/jpeg, multipart/related; type="application/dicom";q=0.1', 200],
    [ONE, 'image/jpeg', 406],
    [ONE, 'multipart/related; type="image/jpeg"', 406],
    [`/dicom-web/studies/${STUDY}`, 'application/dicom', 406],
    [`${ONE}/metadata`, 'application/dicom+json', 200],
    [`${ONE}/metadata`, 'application/json', 200],
    [`${ONE}/metadata`, 'application/dicom+xml', 406],
    [`${ONE}/frames/1`, 'multipart/related; type=application/octet-stream; transfer-syntax=*', 200],
    [`${ONE}/frames/1`, 'application/octet-stream', 200],
    [`${ONE}/frames/1,2`, 'application/octet-stream', 406],
    [`${ONE}/frames/1`, 'image/jpeg', 406],
  ] as const)
    assert.equal((await get(path, accept)).status, status, `${path} ${accept}`);
});

test('metadata: the whole data set but its pixels', async () => {
  for (const path of [`/dicom-web/studies/${STUDY}`, `/dicom-web/studies/${STUDY}/series/1.2.1.1`]) {
    const answer = await get(`${path}/metadata`);
    assert.equal(answer.headers['content-type'], 'application/dicom+json');
    const rows = JSON.parse(answer.body.toString()) as Record<string, { vr: string; Value?: unknown[] }>[];
    assert.deepEqual(
      rows.map((row) => row['00080018']?.Value),
      [['1.2.1.1.1'], ['1.2.1.1.2']],
    );
    assert.equal(rows[0]!['7FE00010'], undefined);
    assert.deepEqual(rows[0]!['00280008'], { vr: 'IS', Value: [4] });
    assert.deepEqual(rows[0]!['00100020'], { vr: 'LO', Value: ['patient 1'] });
  }
});

test('native frames', async () => {
  const type = 'application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1';
  const frame = (n: number) => Buffer.from(Array.from({ length: 15 }, (_, i) => (n - 1) * 15 + i));
  const answer = await get(`${ONE}/frames/2,4,1`);
  assert.match(answer.headers['content-type']!, /transfer-syntax=1\.2\.840\.10008\.1\.2\.1/);
  const parts = await partsOf(answer, 'application/octet-stream');
  assert.deepEqual(
    parts,
    [2, 4, 1].map((n) => ({ type, body: frame(n) })),
  );
  assert.deepEqual((await get(`${ONE}/frames/3`, 'application/octet-stream')).body, frame(3));
  for (const list of ['0', '-1', '1,', 'a', '1.5', '99999999999'])
    assert.equal((await get(`${ONE}/frames/${list}`)).status, 400, list);
  for (const list of ['5', '1,5']) assert.equal((await get(`${ONE}/frames/${list}`)).status, 404, list);
});

/** An encapsulated multi-frame file: items of these bytes after the given Basic Offset Table (PS3.5 section A.4). */
function encapsulated(n: number, frames: number, table: number[], fragments: Buffer[]): Buffer {
  const uid = `1.2.5.1.${n}`;
  const header = imageHeader({ study: '1.2.5', series: '1.2.5.1', instance: uid, frames });
  const nativeMeta = fileHeader(SECONDARY_CAPTURE, uid);
  const item = (bytes: Buffer) => {
    const head = Buffer.from('feff00e000000000', 'hex');
    head.writeUInt32LE(bytes.length, 4);
    return Buffer.concat([head, bytes]);
  };
  const offsets = Buffer.from(Uint32Array.from(table).buffer);
  const pixels = element('7FE00010', 'OB', Buffer.alloc(0));
  pixels.writeUInt32LE(0xffffffff, 8);
  return Buffer.concat([
    fileHeader(SECONDARY_CAPTURE, uid, '1.2.840.10008.1.2.4.70'),
    header.subarray(nativeMeta.length),
    pixels,
    item(offsets),
    ...fragments.map(item),
    Buffer.from('feffdde000000000', 'hex'),
  ]);
}

test('encapsulated frames: one fragment each, by the offset table, or all of them for the only one', async () => {
  const [a, b, c] = ['aaaa', 'bbbbbb', 'cc'].map((text) => Buffer.from(text)) as [Buffer, Buffer, Buffer];
  const [plain, byTable, only] = await store([
    encapsulated(1, 3, [], [a, b, c]),
    encapsulated(2, 2, [0, 26], [a, b, c]),
    encapsulated(3, 1, [], [a, b, c]),
  ]);
  const frames = async (path: string, list: string) =>
    (await partsOf(await get(`${path}/frames/${list}`), 'application/octet-stream')).map(({ body }) => body.toString());
  assert.deepEqual(await frames(plain!, '1,2,3'), ['aaaa', 'bbbbbb', 'cc']);
  assert.deepEqual(await frames(byTable!, '1,2'), ['aaaabbbbbb', 'cc']);
  assert.deepEqual(await frames(only!, '1'), ['aaaabbbbbbcc']);
  const answer = await get(`${plain}/frames/1`);
  assert.match(answer.headers['content-type']!, /transfer-syntax=1\.2\.840\.10008\.1\.2\.4\.70/);
});

test('frames that cannot be told apart are refused, not guessed', async () => {
  const fragments = ['aaaa', 'bbbb', 'cccc'].map((text) => Buffer.from(text));
  const [torn] = await store([encapsulated(4, 2, [], fragments)]);
  assert.equal((await get(`${torn}/frames/1`)).status, 406);
});

test('frames of the corpus are the pixel items that DCMTK finds', async (t) => {
  const folders = ['ts', 'multiframe'].map((folder) => join(DATA, 'imaging/dicom', folder));
  if (!folders.every((folder) => existsSync(folder))) return t.skip('needs ABATON_TEST_DATA');
  const scratch = mkdtempSync(join(tmpdir(), 'abaton-frames-'));
  t.after(() => rmSync(scratch, { recursive: true }));
  let checked = 0;
  for (const folder of folders)
    for (const name of readdirSync(folder)) {
      const file = readFileSync(join(folder, name));
      const answer = await ask(house.port, { method: 'POST', path: '/dicom-web/studies', ...multipart([file]) });
      if (answer.status !== 200) continue; // the same SOP Instance UID in another transfer syntax, or malformed
      const path = new URL(JSON.parse(answer.body.toString())['00081199'].Value[0]['00081190'].Value[0]).pathname;
      assert.ok((await get(path, 'application/dicom')).body.equals(file), name);
      try {
        execFileSync('dcmdump', ['-q', '+W', scratch, join(folder, name)], { maxBuffer: 1 << 28 });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || process.env.REQUIRE_SYSTEM === '1') throw error;
        return t.skip('needs dcmtk: run scripts/system-deps.sh');
      }
      // name.0.raw: native pixel data or the Basic Offset Table; name.1.raw and on: the fragments.
      const raw = (n: number) => join(scratch, `${name}.${n}.raw`);
      const items: Buffer[] = [];
      for (let n = 0; existsSync(raw(n)); n++) items.push(readFileSync(raw(n)));
      const [{ '00280008': count }] = JSON.parse((await get(`${path}/metadata`)).body.toString());
      const frames = count?.Value?.[0] ?? 1;
      const list = Array.from({ length: frames }, (_, i) => i + 1).join(',');
      const frameAnswer = await get(`${path}/frames/${list}`);
      if (/Deflated|nonbyte_aligned.dcm|fragmented_no_bot/.test(name)) {
        assert.equal(frameAnswer.status, 406, name);
        continue;
      }
      if (items.length === 0) {
        assert.equal(frameAnswer.status, /float/.test(name) ? 200 : 404, name); // dcmdump knows (7FE0,0010) only
        continue;
      }
      const bodies = (await partsOf(frameAnswer, 'application/octet-stream')).map(({ body }) => body);
      if (items.length === 1)
        assert.ok(items[0]!.subarray(0, -1).equals(Buffer.concat(bodies).subarray(0, items[0]!.length - 1)), name);
      else if (items.length - 1 === frames)
        assert.ok(
          bodies.every((body, i) => body.equals(items[i + 1]!)),
          name,
        );
      else assert.ok(Buffer.concat(bodies).equals(Buffer.concat(items.slice(1))), name);
      checked++;
    }
  assert.ok(checked >= 25, `${checked} files`);
});

test('one event per patient, before the first byte', async (t) => {
  t.after(() => {
    house.world.diskFull = false;
    house.world.attested = true;
  });
  await get(`/dicom-web/studies/${STUDY}`);
  await get(`${ONE}/metadata`);
  await get(`${ONE}/frames/1,2`);
  const study = { kind: 'study', ref: house.archive.studyRef(STUDY) };
  assert.deepEqual(
    house.events.map(({ action, object, facts }) => [action, object, facts]),
    [
      ['read', study, { as: 'instances', instances: 2 }],
      ['read', study, { as: 'instances', instances: 2 }],
      ['read', study, { as: 'metadata', instances: 1 }],
      ['read', study, { as: 'frames', frames: 2, instances: 1 }],
    ],
  );
  assert.equal(new Set(house.events.map(({ patient }) => patient)).size, 2);

  const paths = [`/dicom-web/studies/${STUDY}`, `${ONE}/metadata`, `${ONE}/frames/1`];
  for (const path of paths) {
    house.world.diskFull = true;
    const down = await get(path);
    assert.equal(down.status, 503, path);
    assert.ok(down.body.length < 500 && !down.body.includes('DICM'));
    house.world.diskFull = false;
    while (!house.log.healthy()) await sleep(20);
  }
  house.world.attested = false;
  for (const path of paths) assert.equal(JSON.parse((await get(path)).body.toString()).code, 'GATE_CLOSED');
});

test('a gate that closes during a download breaks it off, and a slow client holds nothing up', async (t) => {
  t.after(() => {
    house.world.attested = true;
  });
  const [rows, columns] = [4096, 4096];
  const pixels = Buffer.alloc(rows * columns);
  const big = imageFile({ study: '1.2.7', series: '1.2.7.1', instance: '1.2.7.1.1', rows, columns, pixels });
  const [path] = await store([big]);
  const options = { host: '127.0.0.1', port: house.port, path, rejectUnauthorized: false, agent: false as const };
  const outcome = await new Promise<{ bytes: number; complete: boolean }>((resolve, reject) => {
    https
      .get(options, async (response) => {
        let bytes = 0;
        try {
          for await (const chunk of response) {
            if (bytes === 0) {
              await sleep(100);
              house.world.attested = false;
            }
            bytes += chunk.length;
          }
        } catch {}
        resolve({ bytes, complete: response.complete });
      })
      .on('error', reject);
  });
  assert.equal(outcome.complete, false);
  assert.ok(outcome.bytes < big.length, `${outcome.bytes} bytes came`);
});
