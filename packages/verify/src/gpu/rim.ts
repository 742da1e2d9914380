/**
 * Reference measurements of NVIDIA (RIM): a software identification tag (ISO/IEC 19770-2, TCG Reference Integrity
 * Manifest), one for each driver and for each VBIOS, that lists what the firmware of a device may measure.
 */
import { refuse, VerificationError } from '../errors.ts';
import { MalformedError, malformed } from '../formats/bytes.ts';
import { type Certificate, isoOf, isWithin } from '../pki/x509.ts';
import { attributeOf, onlyChild, parseXml, type XmlElement } from './xml.ts';
import { verifyXmlSignature } from './xml-signature.ts';

export interface Rim {
  kind: 'driver' | 'vbios';
  /** 580.159.03 or 96.00.74.00.20 */
  version: string;
  /** The chip that it is for: GH100, LS10. */
  product: string;
  /** Index of each active measurement → the values it may have, lower-case hex. */
  golden: ReadonlyMap<number, readonly string[]>;
  /** Signer first, root last. */
  chain: readonly Certificate[];
  rootSha256: string;
}

const SWID = 'http://standards.iso.org/iso/19770/-2/2015/schema.xsd';
const HASH = 'http://www.w3.org/2001/04/xmlenc#sha384';
const MEASUREMENTS = 256; // the index of an SPDM block is one byte
const ALTERNATIVES = 64; // real files have one to four
const SHA384_HEX = /^[0-9a-fA-F]{96}$/;
/** A VBIOS has five pairs of hex digits; a driver has decimal numbers. Nothing else in the file tells the two apart. */
const VBIOS_VERSION = /^[0-9A-F]{2}(?:\.[0-9A-F]{2}){4}$/i;

/** Verifies everything but dates and trust in the root. Throws RIM_INVALID. */
export async function authenticateRim(xml: string): Promise<Rim> {
  try {
    const root = parseXml(xml);
    if (root.uri !== SWID || root.local !== 'SoftwareIdentity') malformed('the document is no SoftwareIdentity');
    const { chain, rootSha256, content } = await verifyXmlSignature(root);
    const identity = { ...root, children: content };
    const meta = onlyChild(identity, SWID, 'Meta');
    const [version, product] = [attributeOf(meta, 'colloquialVersion'), attributeOf(meta, 'product')];
    const kind = VBIOS_VERSION.test(version) ? 'vbios' : 'driver';
    return { kind, version, product, golden: parseGolden(onlyChild(identity, SWID, 'Payload')), chain, rootSha256 };
  } catch (error) {
    if (error instanceof MalformedError) refuse('RIM_INVALID', 'a RIM as NVIDIA writes it', error.message);
    if (error instanceof VerificationError) refuse('RIM_INVALID', error.expected, error.seen);
    throw error;
  }
}

/** Signing certificates last a year or two: an old file has to be fetched anew. Throws RIM_EXPIRED. */
export function verifyRimDates({ chain, version }: Rim, nowMs: number): void {
  for (const { notBeforeMs, notAfterMs } of chain)
    if (!isWithin(nowMs, notBeforeMs, notAfterMs))
      refuse(
        'RIM_EXPIRED',
        `a signer valid at ${isoOf(nowMs)}`,
        `${version}: ${isoOf(notBeforeMs)} to ${isoOf(notAfterMs)}`,
      );
}

/** Every resource must be a measurement: one that is not understood would pass unseen. */
function parseGolden({ children }: XmlElement): Map<number, string[]> {
  const golden = new Map<number, string[]>();
  const seen = new Set<number>();
  for (const resource of children) {
    if (typeof resource === 'string') continue;
    if (resource.uri !== SWID || resource.local !== 'Resource' || attributeOf(resource, 'type') !== 'Measurement')
      malformed(`Payload has a ${resource.local} that is no measurement`);
    const index = numberOf(resource, 'index', MEASUREMENTS);
    if (seen.has(index)) malformed(`measurement ${index} occurs twice`);
    seen.add(index);
    const active = attributeOf(resource, 'active');
    if (active !== 'True' && active !== 'False') malformed('active must be True or False');
    const values = parseAlternatives(resource).map((value) => value.toLowerCase());
    if (active === 'True') golden.set(index, values);
  }
  return golden.size > 0 ? golden : malformed('no measurement is active');
}

/** Hash0 to as many as there are said to be. */
function parseAlternatives(resource: XmlElement): string[] {
  const count = numberOf(resource, 'alternatives', ALTERNATIVES + 1);
  const values = Array.from({ length: count }, (_, i) => attributeOf(resource, `Hash${i}`, HASH));
  const hashes = resource.attributes.filter(({ uri }) => uri === HASH).length;
  if (count === 0 || hashes !== count) malformed(`${hashes} hashes are given for ${count} alternatives`);
  return values.every((value) => SHA384_HEX.test(value)) ? values : malformed('a hash is not of SHA-384');
}

function numberOf(resource: XmlElement, name: string, below: number): number {
  const text = attributeOf(resource, name);
  const value = Number(text);
  return /^(0|[1-9]\d*)$/.test(text) && value < below ? value : malformed(`${name} is not a number below ${below}`);
}
