/**
 * A P-384 authority that certifies and answers by OCSP (RFC 5280, RFC 6960), as NVIDIA's does: written apart from the
 * verifier, and willing to answer what no responder would.
 */
import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { type Certificate, parseCertificate } from '../../src/pki/x509.ts';
import { bits, context, integer, octets, oid, sequence, TRUE, tlv, utcTime, utf8 } from './der-writer.ts';

export const NOW_MS = Date.parse('2030-06-15T12:00:00Z');
export const DAY_MS = 86_400_000;

const ECDSA_SHA384 = sequence(oid('1.2.840.10045.4.3.3'));
const NULL = tlv(0x05);
const HASH_OID = { sha1: '1.3.14.3.2.26', sha256: '2.16.840.1.101.3.4.2.1', sha384: '2.16.840.1.101.3.4.2.2' };
const OCSP_SIGNING = '1.3.6.1.5.5.7.3.9';
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';

const nameOf = (commonName: string) => sequence(tlv(0x31, sequence(oid('2.5.4.3'), utf8(commonName))));
const generalizedTime = (ms: number) =>
  tlv(0x18, Buffer.from(`${new Date(ms).toISOString().replace(/[-:T]/g, '').slice(0, 14)}Z`));
const keyBitsOf = (key: KeyObject) => key.export({ format: 'der', type: 'spki' }).subarray(-97); // the point of P-384

export const extension = (id: string, value: Uint8Array, critical = false) =>
  sequence(oid(id), ...(critical ? [TRUE] : []), octets(value));
export const noCheck = extension('1.3.6.1.5.5.7.48.1.5', NULL);
export const forOcsp = extension('2.5.29.37', sequence(oid(OCSP_SIGNING)), true);
export const forTls = extension('2.5.29.37', sequence(oid(SERVER_AUTH)));

export interface Party {
  name: string;
  privateKey: KeyObject;
  publicKey: KeyObject;
  der: Buffer;
  certificate: Certificate;
}

interface Certified {
  serial?: Uint8Array;
  ca?: boolean;
  /** First octet of KeyUsage. */
  keyUsage?: number;
  extensions?: Buffer[];
  notBeforeMs?: number;
  notAfterMs?: number;
}

let serials = 0x1000;

/** Certified by `issuer`, or by itself. */
export function certify(name: string, issuer: Party | null, options: Certified = {}): Party {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const publicKey = createPublicKey(privateKey);
  const { ca = false, keyUsage = ca ? 0x06 : 0x80, extensions = [] } = options;
  const tbs = sequence(
    context(0, integer(2)),
    integer(options.serial ?? ++serials),
    ECDSA_SHA384,
    nameOf(issuer?.name ?? name),
    sequence(utcTime(options.notBeforeMs ?? NOW_MS - DAY_MS), utcTime(options.notAfterMs ?? NOW_MS + 365 * DAY_MS)),
    nameOf(name),
    publicKey.export({ format: 'der', type: 'spki' }),
    context(
      3,
      sequence(
        extension('2.5.29.19', sequence(...(ca ? [TRUE] : [])), true),
        extension('2.5.29.15', bits(Buffer.from([keyUsage])), true),
        ...extensions,
      ),
    ),
  );
  const der = sequence(tbs, ECDSA_SHA384, bits(sign('sha384', tbs, issuer?.privateKey ?? privateKey)));
  return { name, privateKey, publicKey, der, certificate: parseCertificate(der) };
}

export interface Answer {
  about: Party;
  issuer: Party;
  hash?: keyof typeof HASH_OID;
  /** Instead of the AlgorithmIdentifier of `hash` with NULL. */
  algorithm?: Buffer;
  /** CertStatus. */
  status?: Buffer;
  thisUpdateMs?: number;
  nextUpdateMs?: number | null;
  extensions?: Buffer[];
}

export const GOOD = tlv(0x80);
export const UNKNOWN = tlv(0x82);
export const revoked = (reason?: number) =>
  context(
    1,
    generalizedTime(NOW_MS - DAY_MS),
    ...(reason === undefined ? [] : [context(0, tlv(0x0a, Buffer.from([reason])))]),
  );

function singleResponse(answer: Answer): Buffer {
  const { about, issuer, hash = 'sha256', status = GOOD, thisUpdateMs = NOW_MS - 1000, extensions = [] } = answer;
  const digest = (bytes: Uint8Array) => octets(createHash(hash).update(bytes).digest());
  const { nextUpdateMs = thisUpdateMs + DAY_MS } = answer;
  return sequence(
    sequence(
      answer.algorithm ?? sequence(oid(HASH_OID[hash]), NULL),
      digest(nameOf(issuer.name)),
      digest(keyBitsOf(issuer.publicKey)),
      integer(Buffer.from(about.certificate.serial, 'hex')),
    ),
    status,
    generalizedTime(thisUpdateMs),
    ...(nextUpdateMs === null ? [] : [context(0, generalizedTime(nextUpdateMs))]),
    ...(extensions.length > 0 ? [context(1, sequence(...extensions))] : []),
  );
}

export interface Responding {
  by?: 'name' | 'key';
  /** Default: the signer's. */
  certificates?: Party[];
  extensions?: Buffer[];
  /** Instead of the signer's key. */
  key?: KeyObject;
  /** Contents of the ENUMERATED of OCSPResponseStatus. */
  status?: Uint8Array;
  type?: string;
}

/** OCSPResponse. */
export function respond(signer: Party, answers: Answer[], options: Responding = {}): Buffer {
  const { by = 'name', certificates = [signer], extensions = [], key = signer.privateKey } = options;
  const keyHash = () => octets(createHash('sha1').update(keyBitsOf(signer.publicKey)).digest());
  const data = sequence(
    by === 'name' ? context(1, nameOf(signer.name)) : context(2, keyHash()),
    generalizedTime(NOW_MS - 1000),
    sequence(...answers.map(singleResponse)),
    ...(extensions.length > 0 ? [context(1, sequence(...extensions))] : []),
  );
  const certs = certificates.length > 0 ? [context(0, sequence(...certificates.map(({ der }) => der)))] : [];
  const basic = sequence(data, ECDSA_SHA384, bits(sign('sha384', data, key)), ...certs);
  return sequence(
    tlv(0x0a, options.status ?? Buffer.from([0])),
    context(0, sequence(oid(options.type ?? '1.3.6.1.5.5.7.48.1.1'), octets(basic))),
  );
}
