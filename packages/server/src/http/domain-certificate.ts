/**
 * A certificate that browsers know, for a key that never leaves the TEE. The key is derived, so it is the same after a
 * restart; the server hands out a signing request for it (PKCS #10, RFC 2986), any ACME client (RFC 8555) has it certified,
 * and the chain is read from a file, again whenever that changes. Evidence names the key, whoever has certified it.
 */
import 'reflect-metadata';
import { createECDH, createPrivateKey, hkdfSync, webcrypto, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import * as x509 from '@peculiar/x509';
import { errorOf } from '../errors.ts';
import type { TlsKey } from '../tee/agent-client.ts';

export interface DomainCertificate {
  /** The request for a certificate, PEM. */
  requestPem: string;
  /** The key with the chain of the file; without a file with a certificate that it has signed itself. */
  current(): TlsKey;
  /** Reads the file again. False when it holds the same; throws SETTING_INVALID, and `current` stays. */
  reload(): boolean;
}

/** Order of P-256 (FIPS 186-5, SP 800-186 section 3.2.1.3). */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
/** 64 bits more than the order: the remainder is then even enough (FIPS 186-5, A.2.1). */
const SCALAR_BYTES = 40;
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const SELF_SIGNED_MS = 10 * 365 * 86_400_000; // nobody trusts it; evidence stands for it until there is another

/** `seed`: 32 bytes of the TEE. Throws SETTING_INVALID for a domain that is none, and for a chain of another key or name. */
export async function openDomainCertificate(
  seed: Uint8Array,
  domain: string,
  chainFile: string | null,
  nowMs: () => number,
): Promise<DomainCertificate> {
  if (!/^(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(domain))
    throw errorOf('SETTING_INVALID', 'ABATON_DOMAIN must be a lower-case DNS name.');
  const keyPem = deriveKeyPem(seed);
  const keys = await keyPairOf(keyPem);
  const names = new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: domain }]);
  const common = { name: `CN=${domain}`, keys, signingAlgorithm: ALGORITHM, extensions: [names] };
  x509.cryptoProvider.set(webcrypto as unknown as Crypto);
  const request = await x509.Pkcs10CertificateRequestGenerator.create(common);
  const selfSigned = await x509.X509CertificateGenerator.createSelfSigned({
    ...common,
    serialNumber: '01',
    notBefore: new Date(nowMs() - 86_400_000),
    notAfter: new Date(nowMs() + SELF_SIGNED_MS),
  });
  const read = (): string => (chainFile ? readChain(chainFile, keyPem, domain, nowMs()) : selfSigned.toString('pem'));
  let chain = read();
  return {
    requestPem: `${request.toString('pem')}\n`,
    current: () => ({ keyPem, chainPem: splitPem(chain) }),
    reload() {
      const before = chain;
      chain = read();
      return chain !== before;
    },
  };
}

function deriveKeyPem(seed: Uint8Array): string {
  const bytes = Buffer.from(hkdfSync('sha256', seed, '', 'abaton domain key v1', SCALAR_BYTES));
  const scalar = (BigInt(`0x${bytes.toString('hex')}`) % (ORDER - 1n)) + 1n;
  const ecdh = createECDH('prime256v1');
  ecdh.setPrivateKey(scalar.toString(16).padStart(64, '0'), 'hex');
  const point = ecdh.getPublicKey();
  const part = (start: number) => point.subarray(start, start + 32).toString('base64url');
  const d = Buffer.from(scalar.toString(16).padStart(64, '0'), 'hex').toString('base64url');
  const key = createPrivateKey({ format: 'jwk', key: { kty: 'EC', crv: 'P-256', x: part(1), y: part(33), d } });
  return key.export({ type: 'pkcs8', format: 'pem' }) as string;
}

async function keyPairOf(keyPem: string): Promise<CryptoKeyPair> {
  const jwk = createPrivateKey(keyPem).export({ format: 'jwk' });
  const { d: _, ...publicJwk } = jwk;
  return {
    privateKey: await webcrypto.subtle.importKey('jwk', jwk as JsonWebKey, ALGORITHM, true, ['sign']),
    publicKey: await webcrypto.subtle.importKey('jwk', publicJwk as JsonWebKey, ALGORITHM, true, ['verify']),
  } as CryptoKeyPair;
}

function readChain(file: string, keyPem: string, domain: string, nowMs: number): string {
  const refuse = (why: string, cause?: unknown): never => {
    throw errorOf('SETTING_INVALID', `ABATON_DOMAIN_CERTIFICATE ${why}.`, { cause });
  };
  let leaf: X509Certificate;
  let chain: string;
  try {
    chain = readFileSync(file, 'utf8');
    leaf = new X509Certificate(splitPem(chain)[0]!);
  } catch (cause) {
    return refuse('must name a readable chain of certificates in PEM, that of the domain first', cause);
  }
  if (!leaf.checkPrivateKey(createPrivateKey(keyPem)))
    return refuse('is for another key: have /.well-known/abaton/domain.csr certified');
  if (!leaf.checkHost(domain)) return refuse('is for another domain than ABATON_DOMAIN');
  if (nowMs < Date.parse(leaf.validFrom) || nowMs > Date.parse(leaf.validTo)) return refuse('is not in date');
  return chain;
}

const splitPem = (chain: string): string[] =>
  chain.match(/-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g) ?? [];
