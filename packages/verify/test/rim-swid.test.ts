/**
 * Reference measurements as software identification tags (ISO/IEC 19770-2, in NVIDIA's form), on simulated ones: what is
 * read of them, which XML they may consist of, what they must contain, and from when until when they count.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { authenticateRim, verifyRimDates } from '../src/gpu/rim.ts';
import { golden, good, hash, refuses, rim, table } from './support/judge-rim.ts';
import { certify, DAY_MS, NOW_MS, type Party } from './support/ocsp-authority.ts';
import { runs } from './support/property.ts';
import { makeRim, rimChain } from './support/simulated-rim.ts';

const [, ca, family, root] = rimChain as [Party, Party, Party, Party];
const under = (issuer: Party, options?: Parameters<typeof certify>[2]) => certify('signer', issuer, options);

test('what is read', async () => {
  const { kind, version, golden: read, chain, rootSha256 } = await authenticateRim(good);
  assert.deepEqual([kind, version], ['driver', '580.159.03']);
  assert.deepEqual(read, golden); // 62 others are not active
  assert.deepEqual(
    chain.map(({ serial }) => serial),
    rimChain.map(({ certificate }) => certificate.serial),
  );
  assert.equal(rootSha256, makeRim({ kind: 'vbios', version: '', golden }).rootSha256);
});

test('a version tells drivers and VBIOSes apart', async () => {
  for (const version of ['96.00.74.00.20', '96.00.9f.00.04', '97.00.E4.00.1E', '96.10.55.00.01'])
    assert.equal((await authenticateRim(rim({ version }))).kind, 'vbios');
  for (const version of ['580.159.03', '545.00', '590.12', '96.00.74.00', '96.00.74.00.20.00', '96.00.74.00.2G'])
    assert.equal((await authenticateRim(rim({ version }))).kind, 'driver');
});

test('as many alternatives as there are, in either case of hex', async () => {
  const values = Array.from({ length: 12 }, (_, i) => hash(`a${i.toString(16)}`));
  const upper = rim({ golden: new Map([[255, values.map((value) => value.toUpperCase())]]) });
  assert.deepEqual((await authenticateRim(upper)).golden, new Map([[255, values]]));
});

test('what Canonical XML calls the same is the same', async () => {
  const before = await authenticateRim(good);
  for (const [from, to] of [
    [' corpus="false" name="GH100"', ' name="GH100" corpus="false"'],
    ['tagCreator"/>', 'tagCreator"></ns0:Entity>'],
    ['<ns0:Resource ', '<ns0:Resource xmlns:ns2="http://www.w3.org/2001/04/xmlenc#sha384" '],
    ['</SoftwareIdentity>\n', '</SoftwareIdentity>'],
    ['</SoftwareIdentity>\n', '</SoftwareIdentity>\n\n'],
  ] as const) {
    const xml = good.replace(from, to);
    assert.notEqual(xml, good);
    assert.deepEqual(await authenticateRim(xml), before);
  }
});

/** Signed with what a canonicalizer makes of it. */
const written = (change: (xml: string) => string, canonical: (xml: string) => string = (xml) => xml): string => {
  let plain = '';
  rim({ content: (xml) => (plain = xml) });
  const expanded = canonical(plain).replace(/<([\w:]+)([^<>]*)\/>/g, '<$1$2></$1>');
  return rim({ content: change, canonical: expanded });
};
const before = (text: string) => (xml: string) => text + xml;
const inEntity = (xml: string) => xml.replace('tagCreator"', 'tagCreator" xml:lang="en"');
const inPayload = (text: string) => (xml: string) => xml.replace('</ns0:Payload>', `${text}</ns0:Payload>`);

table('XML', [
  ['a declaration', written(before('<?xml version="1.0" encoding="UTF-8"?>\n')), /element is expected/, true],
  ['a document type', written(before('<!DOCTYPE SoftwareIdentity>\n')), /element is expected/, null],
  [
    'an entity',
    written((xml) => `<!DOCTYPE a [<!ENTITY e "">]>\n${inPayload('&e;')(xml)}`),
    /element is expected/,
    null,
  ],
  ['an instruction', written(inPayload('<?x y?>'), inPayload('<?x y?>')), /element is expected/, true],
  ['a comment', written(inPayload('<!-- x -->')), /element is expected/, true],
  ['CDATA', written(inPayload('<![CDATA[ ]]>'), inPayload(' ')), /element is expected/, true],
  ['a character reference', written(inPayload('&#32;'), inPayload(' ')), /element is expected/, true],
  ['line ends of Windows', written((xml) => xml.replaceAll('\n', '\r\n')), /control character/, true],
  ['tabs', written((xml) => xml.replaceAll(' active=', '\tactive=')), /control character/, true],
  ['single quotes', written((xml) => xml.replaceAll(/ active="(\w+)"/g, " active='$1'")), /tag does not end/, true],
  ['an attribute of XML itself', written(inEntity, inEntity), /not declared, or reserved/, true],
  ['a blank before the root', ` ${good}`, /element is expected/, true],
  ['a byte order mark', `\ufeff${good}`, /element is expected/, true],
  ['something after the root', `${good}x`, /follows the root/, false],
  [
    'more than 64 KiB',
    good.replace('</ns0:Payload>', `${' '.repeat(64 * 1024)}</ns0:Payload>`),
    /more than 65536/,
    false,
  ],
  [
    'a thousand levels',
    good.replace('</ns0:Payload>', `${'<a>'.repeat(1000)}${'</a>'.repeat(1000)}</ns0:Payload>`),
    /too deeply/,
    null,
  ],
  ['nothing', '', /element is expected/, null],
]);

const payload = /<ns0:Payload.*<\/ns0:Payload>/s.exec(good)![0];
const content = (from: string | RegExp, to: string): string => rim({ content: (xml) => xml.replace(from, to) });
const seven0 = `<ns0:Resource Hash0="${hash('07')}" active="True" alternatives="1" index="7" type="Measurement"/>`;
const seven = /<ns0:Resource [^>]* index="7"[^>]*\/>/;

table('contents', [
  ['another root', content(/SoftwareIdentity/g, 'Software'), /no SoftwareIdentity/, true],
  ['another namespace', content(/http:\/\/standards[^"]*/g, 'u:swid'), /no SoftwareIdentity/, true],
  ['no Meta', content(/<ns0:Meta[^>]*>/, ''), /one Meta/, true],
  ['two of them', content(/<ns0:Meta[^>]*>/, '$&$&'), /one Meta/, true],
  ['no version', content(/ colloquialVersion="[^"]*"/, ''), /no colloquialVersion/, true],
  ['no payload', content(payload, ''), /one Payload/, true],
  ['two of them', content(payload, payload + payload), /one Payload/, true],
  ['a measurement twice', content(seven, '$&$&'), /measurement 7 occurs twice/, true],
  ['one without index', content(' index="7"', ''), /no index/, true],
  ['an index in another form', content(' index="7"', ' index="07"'), /not a number below 256/, true],
  ['an index that is too large', content(' index="7"', ' index="256"'), /not a number below 256/, true],
  ['neither active nor not', content('active="True"', 'active="true"'), /True or False/, true],
  ['a resource that is no measurement', content('type="Measurement"', 'type="Opaque"'), /no measurement/, true],
  [
    'something else in the payload',
    content('</ns0:Payload>', '<ns0:File name="x"></ns0:File></ns0:Payload>'),
    /no measurement/,
    true,
  ],
  [
    'a resource of another namespace',
    content(seven, '<Resource xmlns="u:x" type="Measurement"></Resource>'),
    /no measurement/,
    true,
  ],
  ['fewer hashes than alternatives', content('alternatives="3"', 'alternatives="4"'), /no Hash3/, true],
  ['more hashes than alternatives', content('alternatives="3"', 'alternatives="2"'), /3 hashes are given for 2/, true],
  ['no alternative', rim({ golden: new Map([[7, []]]) }), /0 hashes are given for 0/, true],
  [
    'sixty-five alternatives',
    rim({ golden: new Map([[7, Array(65).fill(hash('07'))]]) }),
    /not a number below 65/,
    true,
  ],
  ['a gap in the hashes', content('Hash2', 'Hash3'), /no Hash2/, true],
  ['a hash of no namespace', content(seven, seven0), /no Hash0/, true],
  ['a short hash', rim({ golden: new Map([[7, ['07'.repeat(47)]]]) }), /not of SHA-384/, true],
  ['a hash of 95 digits', rim({ golden: new Map([[7, ['0'.repeat(95)]]]) }), /not of SHA-384/, true],
  ['one hash of two that is none', rim({ golden: new Map([[7, [hash('07'), hash('0x')]]]) }), /not of SHA-384/, true],
  ['a hash that is none', rim({ golden: new Map([[7, ['0x'.repeat(48)]]]) }), /not of SHA-384/, true],
  ['nothing active', rim({ golden: new Map() }), /no measurement is active/, true],
]);

test('dates: the whole chain counts, to the second', async () => {
  const read = await authenticateRim(good);
  const [fromMs, untilMs] = [NOW_MS - DAY_MS, NOW_MS + 365 * DAY_MS];
  for (const ms of [fromMs, NOW_MS, untilMs]) verifyRimDates(read, ms);
  const expired = { name: 'VerificationError', code: 'RIM_EXPIRED' };
  for (const ms of [fromMs - 1, untilMs + 1]) assert.throws(() => verifyRimDates(read, ms), expired);
  for (const short of [{ notAfterMs: NOW_MS - 1000 }, { notBeforeMs: NOW_MS + 1000 }]) {
    const oldCa = certify('old', family, { ca: true, ...short });
    for (const chain of [
      [under(ca, short), ca, family, root],
      [under(oldCa), oldCa, family, root],
    ])
      assert.throws(await authenticateRim(rim({ chain })).then((old) => () => verifyRimDates(old, NOW_MS)), expired);
  }
});

test('whatever comes in, RIM_INVALID comes out, soon', async () => {
  const pieces = fc.constantFrom(
    ...good.split(/(?<=>)/),
    '<',
    '>',
    '"',
    '&',
    '</',
    '/>',
    ' ',
    '\n',
    '\0',
    '\ud800',
    '😀',
  );
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        fc.string({ unit: 'binary' }),
        fc.array(pieces).map((some) => some.join('')),
      ),
      (xml) => refuses(xml),
    ),
    runs(100),
  );
  const place = fc.nat(good.length);
  await fc.assert(
    fc.asyncProperty(place, place, place, async (from, to, at) => {
      const xml = good.slice(0, at) + good.slice(Math.min(from, to), Math.max(from, to)) + good.slice(at);
      if (from !== to && xml.trimEnd() !== good.trimEnd()) await refuses(xml);
    }),
    runs(20),
  );
});
