/**
 * XML Signature (W3C xmldsig-core1) as NVIDIA signs reference measurements, and in no other form: one enveloped signature
 * at the end of the document, one reference to the whole of it, ECDSA on P-384 with SHA-384, certificates in KeyInfo.
 */
import { sha384 } from '@noble/hashes/sha2.js';
import { refuse } from '../errors.ts';
import { decodeBase64, encodeBase64, equalBytes, malformed, utf8ToBytes } from '../formats/bytes.ts';
import { verifySignature } from '../pki/signature.ts';
import { type Certificate, parseCertificate, verifyChain } from '../pki/x509.ts';
import { fingerprint } from '../roots.ts';
import { canonicalizeXml } from './c14n.ts';
import { attributeOf, textOf, type XmlElement } from './xml.ts';

const DS = 'http://www.w3.org/2000/09/xmldsig#';
const C14N_1_1 = 'http://www.w3.org/2006/12/xml-c14n11';
const ENVELOPED = 'http://www.w3.org/2000/09/xmldsig#enveloped-signature';
const ECDSA_SHA384 = 'http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384';
const SHA384 = 'http://www.w3.org/2001/04/xmldsig-more#sha384'; // RFC 9231 section 2.1.3
const CERTIFICATES = { min: 2, max: 8 }; // real files have four

export interface SignedDocument {
  /** Signer first, root last; verified but for dates. */
  chain: Certificate[];
  rootSha256: string;
  /** What was signed: the document without its signature. */
  content: (XmlElement | string)[];
}

/**
 * Verifies the signature of a document and the chain of its signer. Throws RIM_INVALID or CERTIFICATE_INVALID, and
 * MalformedError for another form of signature. Whether the root is trusted is another question.
 */
export async function verifyXmlSignature(root: XmlElement): Promise<SignedDocument> {
  const [signature, ...more] = signaturesIn(root);
  if (!signature || more.length > 0 || root.children.at(-1) !== signature)
    return malformed('the document does not end with its only signature');
  // What nobody has signed says nothing: no attribute, no namespace but its own.
  if (signature.attributes.length > 0 || signature.declared.size !== 1) malformed('Signature has attributes');
  const [signedInfo, signatureValue, keyInfo] = childrenInOrder(signature, ['SignedInfo', 'SignatureValue', 'KeyInfo']);
  const digest = parseSignedInfo(signedInfo!);
  const ders = parseKeyInfo(keyInfo!);
  const chain = ders.map(parseCertificate);
  if (chain.some(({ publicKey }) => publicKey.algorithm !== 'P-384'))
    refuse('RIM_INVALID', 'keys on P-384', 'another key');

  if (!equalBytes(sha384(utf8ToBytes(canonicalizeXml(root, { without: signature }))), digest))
    refuse('RIM_INVALID', 'a document with the digest that was signed', 'another digest');
  await verifyChain(chain, 'leaf');
  const inherited = new Map([...root.declared, ...signature.declared]);
  const signedText = utf8ToBytes(canonicalizeXml(signedInfo!, { inherited }));
  if (!(await verifySignature(chain[0]!.publicKey, decodeBase64(textOf(signatureValue!)), signedText)))
    refuse('RIM_INVALID', 'a document signed by its certificate', 'a signature that does not verify');
  return { chain, rootSha256: fingerprint(ders.at(-1)!), content: root.children.slice(0, -1) };
}

/** Wherever they stand. */
const signaturesIn = (element: XmlElement): XmlElement[] => [
  ...(element.uri === DS && element.local === 'Signature' ? [element] : []),
  ...element.children.flatMap((child) => (typeof child === 'string' ? [] : signaturesIn(child))),
];

/** Returns the digest. Every algorithm is the one that is expected, so there is none to choose. */
function parseSignedInfo(signedInfo: XmlElement): Uint8Array {
  const [c14n, method, reference] = childrenInOrder(signedInfo, [
    ...['CanonicalizationMethod', 'SignatureMethod', 'Reference'],
  ]);
  expectAlgorithm(c14n!, C14N_1_1);
  expectAlgorithm(method!, ECDSA_SHA384);
  if (attributeOf(reference!, 'URI') !== '') malformed('the reference is not to the whole document');
  const [transforms, digestMethod, digestValue] = childrenInOrder(reference!, [
    ...['Transforms', 'DigestMethod', 'DigestValue'],
  ]);
  const [enveloped, canonical] = childrenInOrder(transforms!, ['Transform', 'Transform']);
  expectAlgorithm(enveloped!, ENVELOPED);
  expectAlgorithm(canonical!, C14N_1_1);
  expectAlgorithm(digestMethod!, SHA384);
  return decodeBase64(textOf(digestValue!));
}

/** KeyInfo is not signed. Its certificates are base64 in lines of 64 characters, each with a line feed: one form only. */
function parseKeyInfo(keyInfo: XmlElement): Uint8Array[] {
  const [data] = childrenInOrder(keyInfo, ['X509Data']);
  const { length } = data!.children;
  if (length < CERTIFICATES.min || length > CERTIFICATES.max) malformed(`X509Data has ${length} children`);
  const ders = childrenInOrder(data!, Array(length).fill('X509Certificate')).map((certificate) => {
    const text = textOf(certificate);
    const der = decodeBase64(text.replaceAll('\n', ''));
    return text === encodeBase64(der).replace(/.{1,64}/g, '$&\n')
      ? der
      : malformed('X509Certificate is not in lines of 64');
  });
  return new Set(ders.map(fingerprint)).size === length ? ders : malformed('a certificate occurs twice');
}

/** They have one attribute, which is read. Every other element of XML Signature has none here. */
const WITH_ATTRIBUTE = ['CanonicalizationMethod', 'SignatureMethod', 'Reference', 'Transform', 'DigestMethod'];

/** The children, when they are exactly these elements of XML Signature, with nothing between, and no attribute but their own. */
function childrenInOrder(parent: XmlElement, names: readonly string[]): XmlElement[] {
  if (parent.children.length !== names.length) malformed(`${parent.local} does not consist of ${names.join(', ')}`);
  return names.map((name, index) => {
    const child = parent.children[index]!;
    if (typeof child === 'string' || child.uri !== DS || child.local !== name)
      return malformed(`${parent.local} does not consist of ${names.join(', ')}`);
    if (child.declared.size > 0 || child.attributes.length !== (WITH_ATTRIBUTE.includes(name) ? 1 : 0))
      malformed(`${name} has other attributes`);
    return child;
  });
}

function expectAlgorithm(element: XmlElement, algorithm: string): void {
  if (element.children.length > 0) malformed(`${element.local} has parameters`);
  const seen = attributeOf(element, 'Algorithm');
  if (seen !== algorithm) malformed(`${element.local} ${algorithm} expected, ${seen.slice(0, 80)} seen`);
}
