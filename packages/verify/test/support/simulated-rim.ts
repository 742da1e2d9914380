/**
 * Simulated reference measurements: own P-384 chain, and a document like those of NVIDIA, genuinely signed. Everything can
 * be bent *before* it is signed. Written apart from the verifier: documents are written in the order of Canonical XML, so
 * that only their empty elements differ from it.
 */
import { createHash, type KeyObject, sign } from 'node:crypto';
import { certify, DAY_MS, NOW_MS, type Party } from './ocsp-authority.ts';

const SWID = 'http://standards.iso.org/iso/19770/-2/2015/schema.xsd';
const RIM = 'https://trustedcomputinggroup.org/resource/tcg-reference-integrity-manifest-rim-information-model/';
const XMLENC_SHA384 = 'http://www.w3.org/2001/04/xmlenc#sha384';
const DS = 'http://www.w3.org/2000/09/xmldsig#';
const MEASUREMENTS = 64;
const UNUSED = '00'.repeat(48);

const validity = { notBeforeMs: NOW_MS - DAY_MS, notAfterMs: NOW_MS + 365 * DAY_MS };
const root = certify('SIMULATED CoRIM signing Root CA', null, { ca: true, ...validity });
const family = certify('SIMULATED Reference Value CA', root, { ca: true, ...validity });
const ca = certify('SIMULATED Reference Value L3', family, { ca: true, ...validity });
/** Signer first, root last. The same in every RIM of a process. */
export const rimChain: readonly Party[] = [certify('SIMULATED RIM Signer', ca, validity), ca, family, root];

export interface Signing {
  /** Signer first, root last. */
  chain?: readonly Party[];
  /** Instead of the signer's. */
  key?: KeyObject;
  /** What a canonicalizer would make of the document. Needed where more than its empty elements differ. */
  canonical?: string;
  /** Of the digest and of the signature. */
  hashes?: [digest: string, signature: string];
  /** Before signing, as written and in the order of Canonical XML. */
  signedInfo?: (xml: string) => string;
  /** After signing: what nobody has signed. */
  signature?: (xml: string) => string;
}

export interface SimulatedRim extends Signing {
  kind: 'driver' | 'vbios';
  version: string;
  /** Default: GH100. */
  product?: string;
  /** Index → values it may have, hex. */
  golden: ReadonlyMap<number, readonly string[]>;
  /** Before signing: the whole document but its signature. */
  content?: (xml: string) => string;
}

/** `rootSha256`: of the root that the document shows, hex. */
export function makeRim({ content = (xml) => xml, ...options }: SimulatedRim): { xml: string; rootSha256: string } {
  const { chain = rimChain } = options;
  const rootSha256 = createHash('sha256').update(chain.at(-1)!.der).digest('hex');
  return { xml: signXml(content(rimContent(options)), options), rootSha256 };
}

const withEnds = (xml: string): string => xml.replace(/<([\w:]+)([^<>]*)\/>/g, '<$1$2></$1>');
/** Attributes as written, by their names. */
const inOrder = (a: string, b: string): number => (a.split('=')[0]! < b.split('=')[0]! ? -1 : 1);

/** An enveloped signature at the end of `content` (W3C xmldsig-core1), under C14N 1.1. */
export function signXml(content: string, options: Signing = {}): string {
  const { chain = rimChain, hashes = ['sha384', 'sha384'], signedInfo: bend = (xml) => xml } = options;
  const digest = createHash(hashes[0])
    .update(options.canonical ?? withEnds(content))
    .digest('base64');
  const signedInfo = bend(
    `<ds:SignedInfo><ds:CanonicalizationMethod Algorithm="http://www.w3.org/2006/12/xml-c14n11"/>` +
      `<ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"/><ds:Reference URI="">` +
      `<ds:Transforms><ds:Transform Algorithm="${DS}enveloped-signature"/>` +
      `<ds:Transform Algorithm="http://www.w3.org/2006/12/xml-c14n11"/></ds:Transforms>` +
      `<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#sha384"/>` +
      `<ds:DigestValue>${digest}</ds:DigestValue></ds:Reference></ds:SignedInfo>`,
  );
  // As a part of its document, SignedInfo shows the namespaces of what it stands in (Canonical XML section 2.3).
  const [rootTag] = /^(?:<[?!].*\n)*<[^>]*>/.exec(content)!;
  const inherited = [...rootTag.matchAll(/ xmlns(?::\w+)?="[^"]*"/g), [` xmlns:ds="${DS}"`]].map(([text]) => text!);
  const signed = withEnds(signedInfo).replace('<ds:SignedInfo', `<ds:SignedInfo${inherited.sort(inOrder).join('')}`);
  const key = { key: options.key ?? chain[0]!.privateKey, dsaEncoding: 'ieee-p1363' } as const;
  const value = sign(hashes[1], Buffer.from(signed), key).toString('base64');
  const certificates = chain.map(({ der }) => der.toString('base64').replace(/.{1,64}/g, '$&\n'));
  const signature =
    `<ds:Signature xmlns:ds="${DS}">${signedInfo}<ds:SignatureValue>${value}</ds:SignatureValue><ds:KeyInfo>` +
    `<ds:X509Data>${certificates.map((text) => `<ds:X509Certificate>${text}</ds:X509Certificate>`).join('')}` +
    `</ds:X509Data></ds:KeyInfo></ds:Signature>`;
  const end = content.lastIndexOf('</');
  return `${content.slice(0, end)}${options.signature?.(signature) ?? signature}${content.slice(end)}\n`;
}

function rimContent({ kind, version, golden, product = 'GH100' }: SimulatedRim): string {
  const tagId = createHash('sha384').update(`${kind} ${version}`).digest('hex');
  const resources = Array.from({ length: Math.max(MEASUREMENTS, ...[...golden.keys()].map((i) => i + 1)) }, (_, i) => {
    const values = golden.get(i) ?? [UNUSED];
    const hashes = values.map((value, n) => ` ns2:Hash${n}="${value}"`).sort(inOrder);
    return (
      `        <ns0:Resource active="${golden.has(i) ? 'True' : 'False'}" alternatives="${values.length}" index="${i}"` +
      ` name="Measurement_${i}" size="48" type="Measurement"${hashes.join('')}/>\n`
    );
  });
  return (
    `<SoftwareIdentity xmlns="${SWID}" xmlns:ns0="${SWID}" xmlns:ns2="${XMLENC_SHA384}" corpus="false" name="${product}"` +
    ` patch="false" supplemental="false" tagId="${tagId}" tagVersion="0" version="1.0">\n` +
    `    <ns0:Entity name="SIMULATED Corporation" role="softwareCreator tagCreator"/>\n` +
    `    <ns0:Meta xmlns:ns1="${RIM}" PayloadType="direct" colloquialVersion="${version}" edition="GPU" product="${product}"` +
    ` revision="r1" ns1:BindingSpec="RIMIM" ns1:BindingSpecVersion="1.01" ns1:PlatformModel="${product}"/>\n` +
    `    <ns0:Payload xmlns:SHA384="${XMLENC_SHA384}">\n${resources.join('')}    </ns0:Payload>\n</SoftwareIdentity>`
  );
}
