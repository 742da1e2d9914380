/**
 * XML Signature (W3C xmldsig-core1) of reference measurements, on simulated ones: one change, one refusal. Many changes are
 * made before signing, so that nothing but the profile speaks against them: xmlsec1, which knows no profile, is asked too.
 */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { good, rim, table } from './support/judge-rim.ts';
import { certify, DAY_MS, NOW_MS, type Party } from './support/ocsp-authority.ts';
import { makeCertificate } from './support/simulated-platform.ts';
import { rimChain } from './support/simulated-rim.ts';
import { noXmlsec, xmlsecAccepts } from './support/xmlsec.ts';

const [signer, ca, family, root] = rimChain as [Party, Party, Party, Party];

test('xmlsec1 accepts a good one', { skip: noXmlsec }, () => {
  assert.equal(xmlsecAccepts(good, root.der, NOW_MS), true);
  assert.equal(xmlsecAccepts(good, root.der, NOW_MS - 2 * DAY_MS), false);
  assert.equal(xmlsecAccepts(good, certify(root.name, null, { ca: true }).der, NOW_MS), false);
});

const info = (from: string | RegExp, to: string): string => rim({ signedInfo: (xml) => xml.replaceAll(from, to) });
const C14N_1_1 = 'http://www.w3.org/2006/12/xml-c14n11';
const C14N_1_0 = 'http://www.w3.org/TR/2001/REC-xml-c14n-20010315';
const EXCLUSIVE = 'http://www.w3.org/2001/10/xml-exc-c14n#';
const transform = `<ds:Transform Algorithm="${C14N_1_1}"/>`;
const MORE = 'http://www.w3.org/2001/04/xmldsig-more#';

table('algorithms', [
  ['Canonical XML 1.0', info(C14N_1_1, C14N_1_0), /xml-c14n11 expected/, true],
  [
    'Canonical XML 1.0 of what is signed alone',
    rim({ signedInfo: (xml) => xml.replace(C14N_1_1, C14N_1_0) }),
    /CanonicalizationMethod .* expected/,
    true,
  ],
  [
    'Canonical XML 1.0 of the document alone',
    info(transform, transform.replace(C14N_1_1, C14N_1_0)),
    /Transform .* expected/,
    true,
  ],
  [
    'Exclusive Canonical XML of the document',
    info(transform, transform.replace(C14N_1_1, EXCLUSIVE)),
    /expected/,
    null,
  ],
  ['with comments', info(C14N_1_1, `${C14N_1_1}#WithComments`), /xml-c14n11 expected/, true],
  [
    'a digest of SHA-256',
    rim({
      hashes: ['sha256', 'sha384'],
      signedInfo: (xml) => xml.replace(`${MORE}sha384`, 'http://www.w3.org/2001/04/xmlenc#sha256'),
    }),
    /DigestMethod .* expected/,
    true,
  ],
  [
    'a digest of SHA-1',
    rim({
      hashes: ['sha1', 'sha384'],
      signedInfo: (xml) => xml.replace(`${MORE}sha384`, 'http://www.w3.org/2000/09/xmldsig#sha1'),
    }),
    /DigestMethod .* expected/,
    true,
  ],
  [
    'a signature over SHA-256',
    rim({ hashes: ['sha384', 'sha256'], signedInfo: (xml) => xml.replace('ecdsa-sha384', 'ecdsa-sha256') }),
    /SignatureMethod .* expected/,
    true,
  ],
  [
    'a signature over SHA-1',
    rim({ hashes: ['sha384', 'sha1'], signedInfo: (xml) => xml.replace('ecdsa-sha384', 'ecdsa-sha1') }),
    /SignatureMethod .* expected/,
    true,
  ],
  ['HMAC', info('ecdsa-sha384', 'hmac-sha384'), /SignatureMethod .* expected/, false],
  [
    'HMAC of zero bits',
    info('ecdsa-sha384"/>', 'hmac-sha384"><ds:HMACOutputLength>0</ds:HMACOutputLength></ds:SignatureMethod>'),
    /parameters/,
    false,
  ],
  ['none', info(`${MORE}ecdsa-sha384`, 'none'), /SignatureMethod .* expected/, false],
  ['an algorithm that is signed wrongly', rim({ hashes: ['sha384', 'sha256'] }), /does not verify/, false],
  ['a digest of another hash than is said', rim({ hashes: ['sha256', 'sha384'] }), /another digest/, false],
]);

const ENVELOPED = '<ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"/>';
const XPATH =
  '<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"><ds:XPath>not(self::Payload)</ds:XPath></ds:Transform>';
const secondReference = (xml: string): string => xml.replace(/<ds:Reference.*<\/ds:Reference>/, '$&$&');

table('what is signed', [
  ['canonicalized twice', info(transform, transform + transform), /Transforms does not consist/, true],
  ['not canonicalized', info(transform, ''), /Transforms does not consist/, true],
  ['canonicalized first', info(ENVELOPED + transform, transform + ENVELOPED), /expected/, null],
  ['the signature too', info(ENVELOPED, ''), /Transforms does not consist/, false],
  ['the signature too, canonicalized twice', info(ENVELOPED, transform), /enveloped-signature expected/, false],
  [
    'by an element of another namespace',
    info(/ds:DigestMethod/g, 'ns0:DigestMethod'),
    /Reference does not consist/,
    false,
  ],
  ['what XPath leaves over', info(transform, XPATH + transform), /Transforms does not consist/, null],
  [
    'a transform with parameters',
    info(`c14n11"/></ds:Transforms>`, 'c14n11"><ds:X></ds:X></ds:Transform></ds:Transforms>'),
    /parameters/,
    null,
  ],
  ['a part by its id', info('URI=""', 'URI="#id"'), /not to the whole document/, false],
  ['the document by XPointer', info('URI=""', 'URI="#xpointer(/)"'), /not to the whole document/, false],
  ['a file', info('URI=""', 'URI="file:///etc/passwd"'), /not to the whole document/, false],
  ['whatever is meant', info(' URI=""', ''), /other attributes/, null],
  ['twice', rim({ signedInfo: secondReference }), /SignedInfo does not consist/, true],
  ['nothing', info(/<ds:Reference.*<\/ds:Reference>/g, ''), /SignedInfo does not consist/, false],
  ['a reference with an id', info('<ds:Reference URI=""', '<ds:Reference Id="r" URI=""'), /other attributes/, true],
  [
    'a reference with a type',
    info('<ds:Reference URI=""', '<ds:Reference Type="u:t" URI=""'),
    /other attributes/,
    null,
  ],
  ['white space between elements', info('<ds:Reference ', '\n<ds:Reference '), /SignedInfo does not consist/, true],
  [
    'SignedInfo with an id',
    rim({ signature: (xml) => xml.replace('<ds:SignedInfo', '<ds:SignedInfo Id="s"') }),
    /other attributes/,
    false,
  ],
  ['white space in the digest', info('</ds:DigestValue>', '\n</ds:DigestValue>'), /base64/, true],
  ['a digest without end', info(/.<\/ds:DigestValue>/g, '</ds:DigestValue>'), /base64/, false],
  ['no digest', info(/>[^<]+<\/ds:DigestValue>/g, '></ds:DigestValue>'), /another digest/, false],
]);

const unsigned = (change: (xml: string) => string): string => rim({ signature: change });
const inSignature = (from: string | RegExp, to: string) => unsigned((xml) => xml.replace(from, to));
const inCertificates = (change: (base64: string) => string): string =>
  unsigned((xml) => xml.replace(/(<ds:X509Certificate>)([^<]*)/g, (_, tag, base64) => tag + change(base64)));
const END = '</ds:X509Certificate>';

table('what nobody has signed', [
  ['an id of the signature', inSignature('<ds:Signature ', '<ds:Signature Id="x" '), /Signature has attributes/, true],
  [
    'a namespace said again',
    inSignature('<ds:Signature ', '<ds:Signature xmlns:ns0="http://standards.iso.org/iso/19770/-2/2015/schema.xsd" '),
    /Signature has attributes/,
    true,
  ],
  [
    'a namespace of its own',
    inSignature('<ds:Signature ', '<ds:Signature xmlns:x="u:x" '),
    /Signature has attributes/,
    false,
  ],
  ['an id of the value', inSignature('<ds:SignatureValue', '<ds:SignatureValue Id="x"'), /other attributes/, true],
  ['an id of KeyInfo', inSignature('<ds:KeyInfo', '<ds:KeyInfo Id="x"'), /other attributes/, true],
  ['a namespace in KeyInfo', inSignature('<ds:KeyInfo', '<ds:KeyInfo xmlns:x="u:x"'), /other attributes/, true],
  [
    'an attribute of a certificate',
    inSignature('<ds:X509Certificate', '<ds:X509Certificate x=""'),
    /other attributes/,
    true,
  ],
  [
    'an object',
    inSignature('</ds:Signature>', '<ds:Object>x</ds:Object></ds:Signature>'),
    /Signature does not consist/,
    true,
  ],
  ['white space', inSignature('<ds:KeyInfo', '\n<ds:KeyInfo'), /Signature does not consist/, true],
  ['white space in KeyInfo', inSignature('<ds:X509Data', '\n<ds:X509Data'), /KeyInfo does not consist/, true],
  ['white space between certificates', inSignature(END, `${END}\n`), /X509Data/, true],
  [
    'the name of a key',
    inSignature('<ds:X509Data', '<ds:KeyName>k</ds:KeyName><ds:X509Data'),
    /KeyInfo does not consist/,
    true,
  ],
  [
    'a bare key',
    inSignature(/<ds:X509Data.*<\/ds:X509Data>/s, '<ds:KeyValue></ds:KeyValue>'),
    /KeyInfo does not consist/,
    false,
  ],
  [
    'the name of a certificate',
    inSignature(END, `${END}<ds:X509SubjectName>CN=x</ds:X509SubjectName>`),
    /X509Data does not consist/,
    null,
  ],
  [
    'a list of revoked ones',
    inSignature('</ds:X509Data>', '<ds:X509CRL></ds:X509CRL></ds:X509Data>'),
    /X509Data does not consist/,
    null,
  ],
  ['KeyInfo of another namespace', inSignature(/ds:KeyInfo/g, 'ns0:KeyInfo'), /Signature does not consist/, false],
  ['no KeyInfo', inSignature(/<ds:KeyInfo.*<\/ds:KeyInfo>/s, ''), /Signature does not consist/, false],
  ['certificates in one line', inCertificates((base64) => base64.replaceAll('\n', '')), /lines of 64/, true],
  ['certificates without the last line feed', inCertificates((base64) => base64.trimEnd()), /lines of 64/, true],
  ['certificates with a line feed before', inCertificates((base64) => `\n${base64}`), /lines of 64/, true],
  [
    'certificates in lines of 76',
    inCertificates((base64) => base64.replaceAll('\n', '').replace(/.{1,76}/g, '$&\n')),
    /lines of 64/,
    true,
  ],
  ['a blank in a certificate', inCertificates((base64) => base64.replace('\n', ' \n')), /base64/, true],
  [
    'a comment in a certificate',
    inCertificates((base64) => base64.replace('\n', '\n<!---->')),
    /element is expected/,
    null,
  ],
  [
    'a signature in lines',
    unsigned((xml) => xml.replace(/(?<=<ds:SignatureValue>)[^<]*/, (value) => value.replace(/.{1,64}/g, '$&\n'))),
    /base64/,
    true,
  ],
  ['no signature at all', inSignature(/(?<=<ds:SignatureValue>)[^<]*/, ''), /does not verify/, false],
  ['half a signature', inSignature(/(?<=<ds:SignatureValue>)[^<]{64}/, ''), /does not verify/, false],
  ['a signature of zeros', inSignature(/(?<=<ds:SignatureValue>)[^<]*/, 'A'.repeat(128)), /does not verify/, false],
]);

const P256 = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const asSigner = { subject: 'P-256', issuer: ca.name, serial: 5, ca: false, pathLength: null, keyUsage: 0x80 };
const validity = { notBeforeMs: NOW_MS - DAY_MS, notAfterMs: NOW_MS + DAY_MS };
const p256 = {
  ...{ ...signer, name: asSigner.subject, privateKey: P256.privateKey, publicKey: P256.publicKey },
  der: makeCertificate({ ...asSigner, ...validity, extensions: [] }, P256.publicKey, ca.privateKey),
};
const stranger = certify('stranger', null);
const noCertifier = certify('no certifier', root, { ca: true, keyUsage: 0x80 });
const another = certify(ca.name, family, { ca: true }); // same name, other key
const under = (issuer: Party, options?: Parameters<typeof certify>[2]) => certify('signer', issuer, options);

table('chains', [
  ['without the root', rim({ chain: [signer, ca, family] }), /issued by the next one|CA/, true],
  ['the signer alone', rim({ chain: [signer] }), /1 children/, false],
  [
    'none',
    rim({ chain: rimChain, signature: (xml) => xml.replace(/<ds:X509Cert.*<\/ds:X509Certificate>/s, '') }),
    /0 children/,
    false,
  ],
  ['nine', rim({ chain: [...rimChain, ...rimChain, root] }), /9 children/, null],
  ['with the root twice', rim({ chain: [...rimChain, root] }), /occurs twice/, true],
  ['root first', rim({ chain: [...rimChain].reverse() }), /issued by the next one/, null],
  ['without a link', rim({ chain: [signer, family, root] }), /issued by the next one/, false],
  ['a link of the same name', rim({ chain: [signer, another, family, root] }), /does not verify/, false],
  ['signed by the key of the CA', rim({ key: ca.privateKey }), /does not verify/, false],
  ['signed by the CA itself', rim({ chain: [ca, family, root] }), /not a CA/, true],
  ['signed by a stranger', rim({ key: stranger.privateKey }), /does not verify/, false],
  ['a stranger before the chain', rim({ chain: [stranger, ...rimChain] }), /issued by the next one/, false],
  ['a CA that is none', rim({ chain: [under(signer), ...rimChain] }), /a CA/, false],
  ['a CA that may not certify', rim({ chain: [under(noCertifier), noCertifier, root] }), /keyCertSign/, null],
  [
    'a signer that may not sign',
    rim({ chain: [under(ca, { keyUsage: 0x08 }), ca, family, root] }),
    /digitalSignature/,
    null,
  ],
  ['a signer on P-256', rim({ chain: [p256, ca, family, root] }), /keys on P-384/, true],
  ['no certificate', inSignature(/(?<=<ds:X509Certificate>)[^<]*/, 'AAAA\n'), /DER/, false],
]);

const body = good.slice(good.indexOf('>') + 1, good.indexOf('<ds:Signature'));
const signature = good.slice(good.indexOf('<ds:Signature'), good.indexOf('</SoftwareIdentity>'));
const open = good.slice(0, good.indexOf('>') + 1);
const evil = body.replaceAll('07'.repeat(48), '66'.repeat(48));
const close = '</SoftwareIdentity>\n';
const nested = signature.replace(
  '</ds:Signature>',
  `<ds:Object>${open}${body}</SoftwareIdentity></ds:Object></ds:Signature>`,
);
const payload = /<ns0:Payload.*<\/ns0:Payload>/s.exec(body)![0];
const otherSignature = rim({ version: '1.2.3' }).match(/<ds:Signature .*<\/ds:Signature>/s)![0];

table('wrapping', [
  ['a measurement altered', open + evil + signature + close, /another digest/, false],
  ['another version', good.replace('580.159.03', '580.159.04'), /another digest/, false],
  ['a measurement switched off', good.replace('"True"', '"False"'), /another digest/, false],
  ['a second payload', good.replace(payload, payload + payload), /another digest/, false],
  ['what was signed inside of the signature', open + evil + nested + close, /Signature does not consist/, false],
  [
    'what was signed inside of another document',
    `${open + evil + good.trim()}${close}`,
    /end with its only signature/,
    null,
  ],
  [
    'the same, with the signature outside',
    `${open + evil + open + body}</SoftwareIdentity>${signature}${close}`,
    /another digest/,
    false,
  ],
  [
    'the signature in the payload',
    open + body.replace('</ns0:Payload>', `${signature}</ns0:Payload>`) + close,
    /end with its only signature/,
    null,
  ],
  ['the signature first', `${open}${signature}${body}${close}`, /end with its only signature/, true],
  ['text after the signature', `${open}${body}${signature}\n${close}`, /end with its only signature/, false],
  ['the signature twice', open + body + signature + signature + close, /only signature/, null],
  ['the signature of another', open + body + otherSignature + close, /another digest/, false],
  ['a signature of another, then its own', open + body + otherSignature + signature + close, /only signature/, false],
  ['no signature', open + body + close, /only signature/, false],
  ['nothing at all', open + close, /only signature/, false],
  [
    'a signature of another namespace',
    good.replace('<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"', '<ds:Signature xmlns:ds="u:ds"'),
    /only signature/,
    false,
  ],
  [
    'a second signature that is signed too',
    rim({ content: (xml) => xml.replace('</SoftwareIdentity>', `${otherSignature}</SoftwareIdentity>`) }),
    /only signature/,
    null,
  ],
  [
    'one that is signed too, deep inside',
    rim({ content: (xml) => xml.replace('</ns0:Payload>', `${otherSignature}</ns0:Payload>`) }),
    /only signature/,
    null,
  ],
]);
