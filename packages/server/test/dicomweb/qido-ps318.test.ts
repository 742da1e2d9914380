/** QIDO-RS: PS3.18 section 10.6, matching of PS3.4 section C.2.2.2, and every search that OHIF 3.13 sends. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import fc from 'fast-check';
import { KEYS, matches, parseQuery } from '../../src/http/dicomweb/qido-query.ts';
import { tagOf } from '../../src/imaging/tags.ts';
import { ask, multipart } from './client.ts';
import { type House, openHouse } from './house.ts';
import { type Elements, imageFile } from './part10.ts';

type Row = Record<string, { vr: string; Value?: unknown[] }>;

let house: House;
before(async () => {
  house = await openHouse();
  const files = [
    file('1.2.1', 1, 1, 'CT', { name: 'Müller^Anna=山田^太郎', id: 'A1', date: '20240105', time: '101500' }),
    file('1.2.1', 1, 2, 'CT', { name: 'Müller^Anna=山田^太郎', id: 'A1', date: '20240105', time: '101500' }),
    file('1.2.1', 2, 1, 'SR', { name: 'Müller^Anna=山田^太郎', id: 'A1', date: '20240105', time: '101500' }),
    file('1.2.2', 1, 1, 'CR', {
      name: 'Miller^Bob',
      id: 'B2',
      date: '20250630',
      time: '2359',
      description: 'THORAX AP',
    }),
    file('1.2.3', 1, 1, 'CR', { name: '', id: 'C*3', date: '', time: '', accession: 'ACC-7' }),
  ];
  const answer = await ask(house.port, { method: 'POST', path: '/dicom-web/studies', ...multipart(files) });
  assert.equal(answer.status, 200);
});
after(() => house.close());
beforeEach(() => {
  house.events.length = 0;
});

interface Person {
  name: string;
  id: string;
  date: string;
  time: string;
  description?: string;
  accession?: string;
}

function file(study: string, series: number, n: number, modality: string, person: Person): Buffer {
  const more: Elements = {
    '00080020': ['DA', person.date],
    '00080030': ['TM', person.time],
    '00080050': ['SH', person.accession ?? ''],
    '00080060': ['CS', modality],
    '00081030': ['LO', person.description ?? ''],
    '0008103E': ['LO', `series ${series}`],
    '00100010': ['PN', person.name],
    '00100020': ['LO', person.id],
    '00200011': ['IS', `${series}`],
    '00200013': ['IS', `${n}`],
  };
  return imageFile({ study, series: `${study}.${series}`, instance: `${study}.${series}.${n}`, more });
}

async function search(path: string): Promise<Row[]> {
  const answer = await ask(house.port, { path: `/dicom-web${path}` });
  if (answer.status === 204) {
    assert.equal(answer.body.length, 0);
    return [];
  }
  assert.equal(answer.status, 200, answer.body.toString());
  assert.equal(answer.headers['content-type'], 'application/dicom+json');
  return JSON.parse(answer.body.toString());
}
const value = (row: Row, tag: string) => row[tag]?.Value?.[0];
const studies = async (query: string) => (await search(`/studies?${query}`)).map((row) => value(row, '0020000D'));

test('studies: newest first, with every attribute of Table 10.6.3-3', async () => {
  const rows = await search('/studies');
  assert.deepEqual(
    rows.map((row) => value(row, '0020000D')),
    ['1.2.2', '1.2.1', '1.2.3'],
  );
  const { '00081190': url, ...row } = rows[1]!;
  assert.deepEqual(url, { vr: 'UR', Value: [`https://127.0.0.1:${house.port}/dicom-web/studies/1.2.1`] });
  assert.deepEqual(row, {
    '00080020': { vr: 'DA', Value: ['20240105'] },
    '00080030': { vr: 'TM', Value: ['101500'] },
    '00080050': { vr: 'SH' },
    '00080056': { vr: 'CS', Value: ['ONLINE'] },
    '00080061': { vr: 'CS', Value: ['CT', 'SR'] },
    '00080090': { vr: 'PN' },
    '00081030': { vr: 'LO' },
    '00100010': { vr: 'PN', Value: [{ Alphabetic: 'Müller^Anna', Ideographic: '山田^太郎' }] },
    '00100020': { vr: 'LO', Value: ['A1'] },
    '00100030': { vr: 'DA' },
    '00100040': { vr: 'CS' },
    '0020000D': { vr: 'UI', Value: ['1.2.1'] },
    '00200010': { vr: 'SH' },
    '00201206': { vr: 'IS', Value: [2] },
    '00201208': { vr: 'IS', Value: [3] },
  });
});

// What OHIF 3.13.2 was seen to ask, with its keywords and hexadecimal tags mixed.
test('every search that OHIF sends', async () => {
  const list = 'limit=101&offset=0&fuzzymatching=false&includefield=00081030,00080060,00080090,00100030';
  assert.deepEqual(await studies(list), ['1.2.2', '1.2.1', '1.2.3']);
  assert.deepEqual(await studies(`${list}&PatientName=*ML*`), []);
  assert.deepEqual(await studies(`${list}&PatientName=*LLER*`), ['1.2.2', '1.2.1']);
  assert.deepEqual(await studies(`${list}&00100020=*2*`), ['1.2.2']);
  assert.deepEqual(await studies(`${list}&AccessionNumber=*7*`), ['1.2.3']);
  assert.deepEqual(await studies(`${list}&StudyDescription=*THO*`), ['1.2.2']);
  assert.deepEqual(await studies(`${list}&ModalitiesInStudy=CT`), ['1.2.1']);
  assert.deepEqual(await studies(`${list}&StudyDate=20240101-20241231`), ['1.2.1']);
  assert.deepEqual(await studies(`${list}&StudyInstanceUID=1.2.1`), ['1.2.1']);
  assert.deepEqual(await studies(`${list}&00100020=A1`), ['1.2.1']);
  const [first] = await search('/studies/1.2.1/series?includefield=00080021,00080031,0008103E,00200011');
  assert.equal(value(first!, '0008103E'), 'series 1');
  assert.equal(value(first!, '00080060'), 'CT');
  assert.equal(value(first!, '00201209'), 2);
});

test('single values, lists of UIDs, wild cards, ranges', async () => {
  assert.deepEqual(await studies('StudyInstanceUID=1.2.1,1.2.2'), ['1.2.2', '1.2.1']);
  assert.deepEqual(await studies('StudyInstanceUID=1.2.1%5C1.2.3'), ['1.2.1', '1.2.3']);
  assert.deepEqual(await studies('PatientName=m%C3%BCller%5Eanna'), ['1.2.1']);
  assert.deepEqual(await studies('PatientName=mu%CC%88ller%5Eanna'), ['1.2.1'], 'decomposed Unicode is the same name');
  assert.deepEqual(await studies('PatientName=%E5%B1%B1%E7%94%B0*'), ['1.2.1'], 'the ideographic group by itself');
  assert.deepEqual(await studies('PatientName=M?ller*'), ['1.2.2', '1.2.1']);
  assert.deepEqual(await studies('PatientName=M%C3%BCller'), [], 'a family name alone is not the name');
  assert.deepEqual(await studies('StudyDescription=*tho*'), [], 'only names match without regard to case');
  assert.deepEqual(await studies('PatientID='), ['1.2.2', '1.2.1', '1.2.3'], 'an empty value matches everything');
  assert.deepEqual(await studies('PatientID=*'), ['1.2.2', '1.2.1', '1.2.3']);
  assert.deepEqual(await studies('StudyDate=20240105'), ['1.2.1']);
  assert.deepEqual(await studies('StudyDate=-20240105'), ['1.2.1']);
  assert.deepEqual(await studies('StudyDate=20240106-'), ['1.2.2']);
  assert.deepEqual(await studies('StudyTime=10-11'), ['1.2.1']);
  assert.deepEqual(await studies('StudyTime=235900-'), ['1.2.2']);
  assert.deepEqual(await studies('StudyTime=1015'), ['1.2.1']);
});

test('pages, and what includefield adds', async () => {
  assert.deepEqual(await studies('limit=1'), ['1.2.2']);
  assert.deepEqual(await studies('limit=1&offset=1'), ['1.2.1']);
  assert.deepEqual(await studies('offset=3'), []);
  const [plain] = await search('/studies?limit=1');
  assert.equal(plain!['00100021'], undefined);
  const [instance] = await search('/studies/1.2.2/instances?includefield=all');
  assert.deepEqual(instance!['00280101'], { vr: 'US', Value: [8] });
  assert.deepEqual(instance!['00080005'], { vr: 'CS', Value: ['ISO_IR 192'] });
  assert.equal(instance!['7FE00010'], undefined);
  const [study] = await search('/studies?StudyInstanceUID=1.2.2&includefield=00280101,0008103E');
  assert.equal(study!['00280101'], undefined, 'attributes of lower levels are not returned');
});

test('series and instances, with and without the levels above', async () => {
  assert.equal((await search('/series')).length, 4);
  assert.equal((await search('/series?Modality=SR&PatientID=A1')).length, 1);
  const [series] = await search('/series?Modality=SR');
  assert.equal(value(series!, '00100020'), 'A1', 'study attributes, since no study is named');
  assert.equal((await search('/studies/1.2.1/series'))[0]!['00100020'], undefined);
  const instances = await search('/studies/1.2.1/series/1.2.1.1/instances');
  assert.deepEqual(
    instances.map((row) => value(row, '00200013')),
    [1, 2],
  );
  assert.equal(instances[0]!['00280010']?.vr, 'US');
  assert.equal((await search('/instances?InstanceNumber=2')).length, 1);
  assert.equal((await search('/studies/1.2.1/instances?SOPInstanceUID=1.2.1.2.1')).length, 1);
  assert.deepEqual(await search('/studies/9.9.9/series'), []);
});

test('what is not understood is refused, and no value is repeated', async () => {
  for (const query of [
    'Unknown=secret',
    '0010FFFF=secret',
    'Rows=secret',
    'Modality=secret',
    'RequestAttributesSequence.RequestedProcedureID=secret',
    'limit=secret',
    'limit=-1',
    'offset=1.5',
    'fuzzymatching=secret',
    'includefield=secret',
    'emptyvaluematching=true',
    'StudyDate=secret',
    'StudyDate=20240101-20240201-secret',
    'StudyDate=-',
    'StudyTime=1',
    'PatientID=a&PatientID=secret',
    'PatientID=a&00100020=secret',
  ]) {
    const answer = await ask(house.port, { path: `/dicom-web/studies?${query}` });
    const body = answer.body.toString();
    assert.equal(answer.status, 400, query);
    assert.equal(JSON.parse(body).code, 'REQUEST_INVALID');
    assert.ok(!body.includes('secret'), body);
  }
  assert.ok(!house.lines.join('').includes('secret'));
  assert.deepEqual(house.events, []);
  assert.equal((await ask(house.port, { path: '/dicom-web/studies', headers: { accept: 'text/html' } })).status, 406);
});

test('fuzzy matching is not done, and the answer says so (PS3.18 section 8.3.4.2)', async () => {
  const answer = await ask(house.port, { path: '/dicom-web/studies?fuzzymatching=true&PatientName=*ller*' });
  assert.equal(answer.status, 200);
  assert.match(answer.headers.warning!, /^299 https:\/\/\S+: The fuzzymatching parameter is not supported\./);
});

test('a search that returns N patients writes N events, before it answers', async (t) => {
  await search('/studies?PatientName=*ller*');
  assert.deepEqual(
    house.events.map(({ action, object, facts }) => [action, object, facts]),
    [1, 2].map(() => ['search', { kind: 'query', ref: 'study' }, { results: 2 }]),
  );
  assert.equal(new Set(house.events.map(({ patient }) => patient)).size, 2);
  const entry = Buffer.from(await house.log.current().entry(house.log.size() - 1)).toString();
  assert.ok(!entry.includes('ller'), 'the query is sealed');
  house.events.length = 0;
  await search('/studies?PatientID=nobody');
  assert.deepEqual(house.events, []);

  t.after(() => {
    house.world.diskFull = false;
    house.world.attested = true;
  });
  house.world.diskFull = true;
  const down = await ask(house.port, { path: '/dicom-web/studies' });
  assert.equal(down.status, 503);
  assert.ok(!down.body.toString().includes('1.2.1'));
  house.world.diskFull = false;
  while (!house.log.healthy()) await new Promise((resolve) => setTimeout(resolve, 20));
  house.world.attested = false;
  assert.equal(JSON.parse((await ask(house.port, { path: '/dicom-web/studies' })).body.toString()).code, 'GATE_CLOSED');
});

test('wild cards are what the same pattern is as a regular expression', () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '.'), maxLength: 8 });
  const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '.', '*', '?'), minLength: 1, maxLength: 8 });
  const property = fc.property(pattern, text, (wanted, value) => {
    const expected = new RegExp(`^${wanted.replaceAll('.', '\\.').replaceAll('*', '.*').replaceAll('?', '.')}$`);
    assert.equal(
      matches(tagOf('PatientID'), { vr: 'LO', Value: [value] }, wanted),
      wanted === '*' || expected.test(value),
    );
  });
  fc.assert(property, { numRuns: process.env.SLOW ? 100_000 : 1000, verbose: 1 });
});

test('no pattern makes matching slow', { timeout: 20_000 }, () => {
  const value = { vr: 'LO', Value: ['a'.repeat(10_000)] };
  assert.equal(matches(tagOf('PatientID'), value, `${'*a'.repeat(5000)}b`), false);
});

test('any query is parsed or refused as REQUEST_INVALID', () => {
  const name = fc.oneof(fc.string(), fc.constantFrom(...KEYS.instance, 'limit', 'offset', 'includefield', '00100020'));
  const property = fc.property(fc.array(fc.tuple(name, fc.string()), { maxLength: 4 }), (pairs) => {
    try {
      parseQuery(new URLSearchParams(pairs), 'instance');
    } catch (error) {
      assert.equal((error as { code?: string }).code, 'REQUEST_INVALID');
    }
  });
  fc.assert(property, { numRuns: process.env.SLOW ? 100_000 : 500, verbose: 1 });
});
