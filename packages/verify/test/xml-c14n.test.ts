/**
 * XML 1.0 with Namespaces, as little of it as reference measurements need, and Canonical XML 1.1 of it. The examples are
 * those of the specification in kind (section 3: start and end tags, namespaces, a part of a document), written anew.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MalformedError } from '../src/formats/bytes.ts';
import { canonicalizeXml } from '../src/gpu/c14n.ts';
import { attributeOf, onlyChild, parseXml, textOf, XML_CHARS, type XmlElement } from '../src/gpu/xml.ts';
import { verifyXmlSignature } from '../src/gpu/xml-signature.ts';
import { NOW_MS } from './support/ocsp-authority.ts';
import { runs } from './support/property.ts';
import { rimChain, signXml } from './support/simulated-rim.ts';
import { noXmlsec, xmlsecAccepts } from './support/xmlsec.ts';

const c14n = (xml: string): string => canonicalizeXml(parseXml(xml));
const many = (count: number, make: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => make(i)).join('');

test('elements, namespaces, attributes, text', () => {
  const root = parseXml('<a xmlns="u:d" xmlns:p="u:p" x="1" p:x="2">\n t<p:b/><b xmlns="u:e" x="3">é😀</b>\n</a>\n');
  assert.deepEqual([root.qname, root.local, root.uri], ['a', 'a', 'u:d']);
  assert.equal(attributeOf(root, 'x'), '1'); // no prefix: in no namespace, whatever the default one is
  assert.equal(attributeOf(root, 'x', 'u:p'), '2');
  assert.deepEqual(
    [...root.declared],
    [
      ['', 'u:d'],
      ['p', 'u:p'],
    ],
  );
  assert.deepEqual(
    root.children.filter((child) => typeof child === 'string'),
    ['\n t', '\n'],
  );
  assert.equal(textOf(onlyChild(root, 'u:e', 'b')), 'é😀');
  assert.deepEqual(onlyChild(root, 'u:p', 'b').children, []);
  for (const wrong of [
    () => attributeOf(root, 'y'),
    () => attributeOf(root, 'x', 'u:d'),
    () => onlyChild(root, 'u:d', 'b'),
    () => onlyChild(parseXml('<a><b/><b/></a>'), '', 'b'),
    () => textOf(root),
  ])
    assert.throws(wrong, MalformedError);
});

const refused: Record<string, string[]> = {
  'what a RIM does not need': [
    '<?xml version="1.0"?><a/>',
    '<?xml version="1.0" encoding="UTF-8"?>\n<a/>',
    '<!DOCTYPE a><a/>',
    '<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>',
    '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
    '<a><!-- comment --></a>',
    '<!-- comment --><a/>',
    '<a/><!-- comment -->',
    '<a><![CDATA[x]]></a>',
    '<a><?target data?></a>',
    '<a>&amp;</a>',
    '<a>&lt;</a>',
    '<a>&#65;</a>',
    '<a>&#x41;</a>',
    '<a b="&quot;"/>',
    '<a b="&#10;"/>',
    '<a xml:lang="en"/>',
    '<a xml:id="x"/>',
    '<a xml:base="u:b"/>',
    '<a xml:space="preserve"/>',
  ],
  'another way to write the same': [
    ' <a/>',
    '\n<a/>',
    '\ufeff<a/>',
    '<a />',
    '<a ></a>',
    '<a></a >',
    '<a  b=""/>',
    '<a\nb=""/>',
    '<a\tb=""/>',
    "<a b=''/>",
    '<a b =""/>',
    '<a b= ""/>',
    '<a/> ',
    '<a/>\n\n\n',
    '<a/>\r\n',
    '<a>\r</a>',
    '<a>\r\n</a>',
    '<a>\t</a>',
    '<a b="\n"/>',
    '<a b="\t"/>',
  ],
  'not well-formed': [
    '',
    'a',
    '<',
    '<a',
    '<a>',
    '<a/',
    '</a>',
    '<a></b>',
    '<a><b></a></b>',
    '<a/><a/>',
    '<a/>x',
    '<a b/>',
    '<a b=""c=""/>',
    '<a b=x/>',
    '<a b="<"/>',
    '<a b=">"/>',
    '<a>></a>',
    '<a>]]></a>',
    '<a>&</a>',
    '<1/>',
    '<-a/>',
    '<é/>',
    '<a é=""/>',
    '<a b="" b=""/>',
    '<a>\0</a>',
    '<a>\u0001</a>',
    '<a>\u007f</a>',
    '<a>\ufffe</a>',
    '<a>\uffff</a>',
    '<a>\ud800</a>',
    '<a b="\udc00"/>',
  ],
  'games with namespaces': [
    '<p:a/>',
    '<a p:b=""/>',
    '<a><b xmlns:p="u:p"/><p:c/></a>',
    '<a:b:c xmlns:a="u:a"/>',
    '<:a/>',
    '<a: xmlns:a="u:a"/>',
    '<a xmlns=""/>',
    '<a xmlns="u:a"><b xmlns=""/></a>',
    '<a xmlns:p=""/>',
    '<a xmlns="u:a" xmlns="u:a"/>',
    '<a xmlns:p="u:a" xmlns:p="u:b"/>',
    '<a xmlns:p="u:a" xmlns:q="u:a" p:x="" q:x=""/>',
    '<a xmlns:p="relative"/>',
    '<a xmlns:p="../x"/>',
    '<a xmlns:p="u: "/>',
    '<a xmlns:p="u:é"/>',
    '<a xmlns:xml="http://www.w3.org/XML/1998/namespace"/>',
    '<a xmlns:xmlns="http://www.w3.org/2000/xmlns/"/>',
    '<a xmlns:p="http://www.w3.org/XML/1998/namespace" p:lang="en"/>',
    '<a xmlns="http://www.w3.org/XML/1998/namespace"/>',
    '<a xmlns:p="http://www.w3.org/2000/xmlns/" p:q="u:q"/>',
    '<xmlns:a/>',
    '<xml:a/>',
  ],
  'more than there ever is': [
    `<a>${' '.repeat(XML_CHARS - 6)}</a>`,
    `${'<a>'.repeat(20_000)}`,
    `${'<a>'.repeat(18)}${'</a>'.repeat(18)}`,
    `<a${many(97, (i) => ` b${i}=""`)}/>`,
    `<a${many(33, (i) => ` xmlns:n${i}="u:"`)}/>`,
    `<a${many(20, (i) => ` xmlns:n${i}="u:"`)}><b${many(20, (i) => ` xmlns:m${i}="u:"`)}/></a>`,
    // A second to read and to write, where a real file takes a few milliseconds, when nothing is counted.
    `<a${many(2000, (i) => ` xmlns:n${i.toString(36)}="u:"`)}>${'<b xmlns:q="v:"/>'.repeat(1800)}</a>`,
  ],
};

for (const [name, documents] of Object.entries(refused))
  test(`refused: ${name}`, () => {
    for (const xml of documents) {
      const startMs = performance.now();
      assert.throws(() => parseXml(xml), MalformedError, xml.slice(0, 100));
      assert.ok(performance.now() - startMs < 1000, xml.slice(0, 100));
    }
  });

test('the limits themselves are accepted, and cost little', () => {
  for (const xml of [
    '<a/>\n\n',
    '<a>\u0085\u2028\u{1fffe}</a>', // characters of XML 1.0 (section 2.2), and no line ends (section 2.11)
    `<a>${' '.repeat(XML_CHARS - 7)}</a>`,
    `${'<a>'.repeat(17)}${'</a>'.repeat(17)}`,
    `<a${many(96, (i) => ` b${i}=""`)}/>`,
    `<a${many(32, (i) => ` xmlns:n${i}="u:"`)}>${'<b/>'.repeat(16_000)}</a>`,
    `<a${many(31, (i) => ` xmlns:n${i}="u:"`)}>${'<b xmlns:q="v:"/>'.repeat(3500)}</a>`,
  ]) {
    const startMs = performance.now();
    assert.match(c14n(xml), /^<a.*<\/a>$/s);
    assert.ok(performance.now() - startMs < 1000, xml.slice(0, 100));
  }
});

const canonical: [name: string, xml: string, expected: string][] = [
  ['an empty element has two tags', '<a><b/></a>\n', '<a><b></b></a>'],
  ['attributes by local name', '<a c="3" b="2" B="1" b1="4"/>', '<a B="1" b="2" b1="4" c="3"></a>'],
  [
    'attributes by namespace, not by prefix; those without one come first',
    '<a xmlns:x="u:2" xmlns:y="u:1" x:b="4" y:c="3" z="2" b="1"/>',
    '<a xmlns:x="u:2" xmlns:y="u:1" b="1" z="2" y:c="3" x:b="4"></a>',
  ],
  [
    'namespaces by prefix, the default one first, before all attributes',
    '<y:a m="" xmlns:z="u:1" xmlns:y="u:2" xmlns="u:3" xmlns:B="u:4"/>',
    '<y:a xmlns="u:3" xmlns:B="u:4" xmlns:y="u:2" xmlns:z="u:1" m=""></y:a>',
  ],
  [
    'a namespace that is said again is left out, one that is said anew is not',
    '<a xmlns="u:d" xmlns:p="u:p"><p:b xmlns="u:d" xmlns:p="u:p"><c xmlns:p="u:q" xmlns="u:e"><p:d xmlns:p="u:p"/></c></p:b></a>',
    '<a xmlns="u:d" xmlns:p="u:p"><p:b><c xmlns="u:e" xmlns:p="u:q"><p:d xmlns:p="u:p"></p:d></c></p:b></a>',
  ],
  ['a namespace that nobody uses stays', '<a><b xmlns:p="u:p"/></a>', '<a><b xmlns:p="u:p"></b></a>'],
  [
    'siblings do not see each other',
    '<a><b xmlns:p="u:p"/><b xmlns:p="u:p"/></a>',
    '<a><b xmlns:p="u:p"></b><b xmlns:p="u:p"></b></a>',
  ],
  ['white space stays', '<a>\n  <b c="  "> </b>\n\n</a>', '<a>\n  <b c="  "> </b>\n\n</a>'],
  ['quotes stay', `<a b="it's">"it's"</a>`, `<a b="it's">"it's"</a>`],
  ['everything else is UTF-8 as it is', '<a b="é😀">\u0085\u2028</a>', '<a b="é😀">\u0085\u2028</a>'],
];

for (const [name, xml, expected] of canonical)
  test(`canonical: ${name}`, () => {
    assert.equal(c14n(xml), expected);
    assert.equal(c14n(expected), expected);
  });

test('canonical: a part shows the namespaces of what it stands in, but none of its attributes', () => {
  const root = parseXml(
    '<a xmlns="u:d" xmlns:p="u:p" xmlns:q="u:q" p:x="1"><p:b xmlns:q="u:r" y=""><c/></p:b><b/></a>',
  );
  const part = root.children[0] as XmlElement;
  assert.equal(
    canonicalizeXml(part, { inherited: root.declared }),
    '<p:b xmlns="u:d" xmlns:p="u:p" xmlns:q="u:r" y=""><c></c></p:b>',
  );
  assert.equal(canonicalizeXml(part), '<p:b xmlns:q="u:r" y=""><c></c></p:b>');
  assert.equal(
    canonicalizeXml(root, { without: part }),
    '<a xmlns="u:d" xmlns:p="u:p" xmlns:q="u:q" p:x="1"><b></b></a>',
  );
});

interface Tree {
  name: [prefix: string, local: string];
  declared: [prefix: string, uri: string][];
  attributes: [prefix: string, local: string, value: string][];
  children: (Tree | string)[];
}
const prefix = fc.constantFrom('', 'p', 'q', 'P');
const local = fc.constantFrom('a', 'b', 'a1', 'A', '_', 'a-b', 'a.b');
const uri = fc.constantFrom('u:1', 'u:2', 'U:1', 'http://standards.example/schema.xsd#a');
const textOfOnly = (...units: string[]) => fc.string({ unit: fc.constantFrom(...units), maxLength: 8 });
const value = textOfOnly(' ', 'a', "'", 'é', '😀', '=', ']', '\u2028');
const { tree } = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.record({
    name: fc.tuple(prefix, local),
    declared: fc.uniqueArray(fc.tuple(prefix, uri), { selector: ([each]) => each, maxLength: 3 }),
    attributes: fc.array(fc.tuple(prefix, local, value), { maxLength: 5 }),
    children: fc.array(fc.oneof({ depthSize: 'small' }, textOfOnly(' ', '\n', 'a', '"', "'", ']', 'é'), tie('tree')), {
      maxLength: 3,
    }) as fc.Arbitrary<(Tree | string)[]>,
  }),
}));

const qnameOf = (prefix: string, local: string) => [prefix, local].filter((part) => part !== '').join(':');
const declarations = (namespaces: Iterable<[string, string]>) =>
  [...namespaces].map(([prefix, uri]) => ` ${qnameOf('xmlns', prefix)}="${uri}"`);

/** In one of two ways. A prefix without namespace gets one; of attributes of the same name the last stays. */
function write(
  { name, declared, attributes, children }: Tree,
  other: boolean,
  scope = new Map<string, string>(),
): string {
  const unknown = [name, ...attributes]
    .map(([prefix]) => prefix)
    .filter((prefix) => prefix !== '' && !scope.has(prefix));
  const here = new Map([...unknown.map((prefix) => [prefix, 'u:0'] as const), ...declared]);
  const inside = new Map([...scope, ...here]);
  const plain = new Map(
    attributes.map(([prefix, local, value]) => [
      `${prefix && inside.get(prefix)} ${local}`,
      ` ${qnameOf(prefix, local)}="${value}"`,
    ]),
  );
  const inner = children.map((child) => (typeof child === 'string' ? child : write(child, other, inside))).join('');
  const tag = qnameOf(...name);
  if (other) return `<${tag}${[...plain.values(), ...declarations(inside)].reverse().join('')}>${inner}</${tag}>`;
  const start = `<${tag}${[...declarations(here), ...plain.values()].join('')}`;
  return inner === '' && scope.size > 0 ? `${start}/>` : `${start}>${inner}</${tag}>`;
}

test('canonical: the same however it is written, and then the same again', () => {
  fc.assert(
    fc.property(tree, (each) => {
      const one = c14n(write(each, false));
      assert.equal(c14n(write(each, true)), one);
      assert.equal(c14n(one), one);
    }),
    runs(100),
  );
});

test('xmlsec1 finds the same canonical form', { skip: noXmlsec }, async () => {
  const root = rimChain.at(-1)!.der;
  await fc.assert(
    fc.asyncProperty(tree, fc.boolean(), async (each, other) => {
      const content = write(each, other);
      const xml = signXml(content, { canonical: c14n(content) });
      await verifyXmlSignature(parseXml(xml));
      assert.equal(xmlsecAccepts(xml, root, NOW_MS), true, xml);
      assert.equal(xmlsecAccepts(signXml(content, { canonical: `${c14n(content)} ` }), root, NOW_MS), false);
    }),
    runs(),
  );
});
