/**
 * The certificate tree of the simulated platform, shaped as Intel's: root → PCK platform CA → PCK leaf, and
 * root → TCB signing (Intel SGX PCK Certificate and CRL Profile Specification, rev 1.5). Every subject says that it is
 * simulated, so that nobody can take a certificate of this tree for Intel's.
 */
import 'reflect-metadata'; // first: @peculiar/x509 needs its decorators
import { randomBytes } from 'node:crypto';
import { p256 } from '@noble/curves/nist.js';
import * as x509 from '@peculiar/x509';
import { boolean, enumerated, integer, objectIdentifier, octetString, sequence } from './der.ts';

/** Stands as organisation in every subject. */
export const SIMULATED = 'SIMULATED - NOT A TEE';

/** What the PCK certificate says of the platform. The FMSPC is none of Intel's. */
export const PLATFORM = {
  fmspc: Buffer.from('00ff00ff00ff', 'hex'),
  pceId: Buffer.from('0000', 'hex'),
  /** 16 SGX TCB component SVNs; the values are those of a real platform of 2026 (FMSPC B0C06F000000). */
  cpuSvn: Buffer.from('04040202040100050000000000000000', 'hex'),
  pceSvn: 11,
};

const DAY_MS = 86_400_000;
export const ECDSA_P256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

/** Bytes that follow from the seed of the installation and a label. */
export type Derive = (label: string, length: number) => Buffer<ArrayBuffer>;

export interface Identity {
  certificate: x509.X509Certificate;
  keys: CryptoKeyPair;
}

export type Pki = Record<'root' | 'pckCa' | 'pck' | 'tcbSigning', Identity>;
export type PkiPem = Record<keyof Pki, string>;

/** P-256 key pair from at least 48 bytes of key material, so that the bias is negligible (FIPS 186-5 A.2.1). */
export async function p256KeyPair(material: Uint8Array): Promise<CryptoKeyPair> {
  const secret = p256.utils.randomSecretKey(material);
  const point = p256.getPublicKey(secret, false);
  const base64url = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64url');
  const open = { kty: 'EC', crv: 'P-256', x: base64url(point.subarray(1, 33)), y: base64url(point.subarray(33)) };
  const importKey = (jwk: JsonWebKey, usage: KeyUsage) =>
    crypto.subtle.importKey('jwk', jwk, ECDSA_P256, true, [usage]);
  return {
    privateKey: await importKey({ ...open, d: base64url(secret) }, 'sign'),
    publicKey: await importKey(open, 'verify'),
  };
}

/** ECDSA with SHA-256 as r‖s, 64 bytes. */
export async function signRaw(keys: CryptoKeyPair, data: Uint8Array): Promise<Buffer> {
  return Buffer.from(await crypto.subtle.sign(ECDSA_P256, keys.privateKey, Buffer.from(data)));
}

export const pem = (certificate: x509.X509Certificate): string => `${certificate.toString('pem')}\n`;

/** Positive, 20 bytes at most (RFC 5280 4.1.2.2). */
export const serialNumber = (): string => `4${randomBytes(16).toString('hex').slice(1)}`;

const subjectOf = (commonName: string) => [{ CN: [commonName] }, { O: [SIMULATED] }];

/** Issues a certificate; without `issuer` it signs itself. */
export async function issue(
  commonName: string,
  keys: CryptoKeyPair,
  issuer: Identity | null,
  options: {
    ca?: boolean;
    notBefore?: Date | undefined;
    notAfter?: Date | undefined;
    extensions?: x509.Extension[];
  } = {},
): Promise<x509.X509Certificate> {
  const { keyCertSign, cRLSign, digitalSignature } = x509.KeyUsageFlags;
  return x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: subjectOf(commonName),
    issuer: issuer ? issuer.certificate.subjectName.toJSON() : subjectOf(commonName),
    notBefore: options.notBefore ?? new Date(Date.now() - DAY_MS),
    notAfter: options.notAfter ?? new Date(Date.now() + 3650 * DAY_MS),
    signingAlgorithm: ECDSA_P256,
    publicKey: keys.publicKey,
    signingKey: (issuer?.keys ?? keys).privateKey,
    extensions: [
      await x509.AuthorityKeyIdentifierExtension.create((issuer?.keys ?? keys).publicKey),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      new x509.KeyUsagesExtension(options.ca ? keyCertSign | cRLSign : digitalSignature, true),
      new x509.BasicConstraintsExtension(options.ca ?? false, undefined, true),
      ...(options.extensions ?? []),
    ],
  });
}

const SGX = '1.2.840.113741.1.13.1';

/** The SGX extension of a PCK certificate (profile specification 1.3.5): PPID .1, TCB .2, PCEID .3, FMSPC .4, … */
function sgxExtension(ppid: Buffer, instanceId: Buffer): x509.Extension {
  const entry = (suffix: string, value: Buffer) => sequence(objectIdentifier(`${SGX}.${suffix}`), value);
  const value = sequence(
    entry('1', octetString(ppid)),
    entry(
      '2',
      sequence(
        ...[...PLATFORM.cpuSvn].map((svn, i) => entry(`2.${i + 1}`, integer(svn))),
        entry('2.17', integer(PLATFORM.pceSvn)),
        entry('2.18', octetString(PLATFORM.cpuSvn)),
      ),
    ),
    entry('3', octetString(PLATFORM.pceId)),
    entry('4', octetString(PLATFORM.fmspc)),
    entry('5', enumerated(1)), // scalable: what a platform CA certifies
    entry('6', octetString(instanceId)),
    // dynamic platform, cached keys, simultaneous multithreading
    entry('7', sequence(...['7.1', '7.2', '7.3'].map((suffix) => entry(suffix, boolean(true))))),
  );
  return new x509.Extension(SGX, false, value);
}

export const ppidOf = (derive: Derive): Buffer<ArrayBuffer> => derive('ppid', 16);

/** The tree over the keys that `derive` gives. Certificates repeat only if kept: signatures and dates differ each time. */
export async function openPki(derive: Derive, kept?: PkiPem): Promise<Pki> {
  const identity = async (name: keyof Pki, issuer: Identity | null, commonName: string, ...more: x509.Extension[]) => {
    const keys = await p256KeyPair(derive(`pki:${name}`, 48));
    const options = { ca: name === 'root' || name === 'pckCa', extensions: more };
    const certificate = kept ? new x509.X509Certificate(kept[name]) : await issue(commonName, keys, issuer, options);
    return { keys, certificate };
  };
  const root = await identity('root', null, 'Simulated SGX Root CA');
  const pckCa = await identity('pckCa', root, 'Simulated SGX PCK Platform CA');
  const sgx = sgxExtension(ppidOf(derive), derive('platform-instance-id', 16));
  const pck = await identity('pck', pckCa, 'Simulated SGX PCK Certificate', sgx);
  return { root, pckCa, pck, tcbSigning: await identity('tcbSigning', root, 'Simulated SGX TCB Signing') };
}

/** A revocation list of `issuer` (RFC 5280 5), DER, with CRL number and authority key id as Intel's have. */
export async function issueCrl(
  issuer: Identity,
  revoked: x509.X509Certificate[],
  thisUpdate: Date,
  nextUpdate: Date,
): Promise<Buffer> {
  const crl = await x509.X509CrlGenerator.create({
    issuer: issuer.certificate.subjectName.toJSON(),
    thisUpdate,
    nextUpdate,
    entries: revoked.map((certificate) => ({
      serialNumber: certificate.serialNumber,
      revocationDate: thisUpdate,
      reason: x509.X509CrlReason.keyCompromise,
    })),
    extensions: [
      new x509.Extension('2.5.29.20', false, integer(Math.floor(thisUpdate.getTime() / 1000))),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.keys.publicKey),
    ],
    signingAlgorithm: ECDSA_P256,
    signingKey: issuer.keys.privateKey,
  });
  return Buffer.from(crl.rawData);
}
