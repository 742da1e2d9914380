/** GetTlsKey: a fresh key and its certificate, with dstack's RA-TLS extensions (dstack ra-tls/src/cert.rs). */
import { createPrivateKey } from 'node:crypto';
import { isIP } from 'node:net';
import * as x509 from '@peculiar/x509';
import { encodeAttestation } from './attestation.ts';
import { octetString } from './der.ts';
import { hash } from './event-log.ts';
import { ECDSA_P256, issue, pem } from './pki.ts';
import type { Platform } from './platform.ts';

/** GetTlsKeyArgs, as far as it is simulated. */
export interface TlsKeyRequest {
  subject: string;
  /** DNS names and IP addresses */
  alt_names?: string[];
  /** With a quote that binds the key. */
  usage_ra_tls?: boolean;
  usage_server_auth?: boolean;
  usage_client_auth?: boolean;
  not_before?: Date | undefined;
  not_after?: Date | undefined;
}

const RA_TLS = '1.3.6.1.4.1.62397.1';
const OID = { quote: `${RA_TLS}.1`, eventLog: `${RA_TLS}.2`, appId: `${RA_TLS}.3`, usage: `${RA_TLS}.4` };
const OID_ATTESTATION = `${RA_TLS}.8`;
/** A TLS 1.3 certificate message must stay far below the 100 kB that OpenSSL takes; dstack's stay below this. */
const MAX_CERTIFICATE_BYTES = 20_000;

const extension = (oid: string, value: Buffer) => new x509.Extension(oid, false, octetString(value));

/** Quote and log, bound to the key: report_data = SHA512("ratls-cert:" ‖ SubjectPublicKeyInfo DER). */
async function attestationExtensions(platform: Platform, spki: Uint8Array): Promise<x509.Extension[]> {
  const reportData = hash('sha512', 'ratls-cert:', spki);
  const quote = await platform.quote(reportData);
  const attestation = encodeAttestation(quote, platform.eventLog, reportData, platform.vmConfig, true);
  const log = Buffer.from(JSON.stringify(platform.eventLog));
  const current = [extension(OID_ATTESTATION, attestation)];
  // Verifiers from before 2026 read .1 and .2 only.
  const older = [extension(OID.quote, quote), extension(OID.eventLog, log)];
  const bytes = attestation.length + quote.length + log.length + 1000; // 1000: the rest of the certificate
  return bytes < MAX_CERTIFICATE_BYTES ? [...older, ...current] : current;
}

/** PKCS#8 PEM of a new P-256 key, and the chain: leaf, app CA. */
export async function issueTlsKey(
  platform: Platform,
  request: TlsKeyRequest,
): Promise<{ key: string; certificate_chain: string[] }> {
  const keys = await crypto.subtle.generateKey(ECDSA_P256, true, ['sign', 'verify']);
  const spki = new Uint8Array(await crypto.subtle.exportKey('spki', keys.publicKey));
  const usages = [
    ...(request.usage_server_auth ? [x509.ExtendedKeyUsage.serverAuth] : []),
    ...(request.usage_client_auth ? [x509.ExtendedKeyUsage.clientAuth] : []),
  ];
  const names = (request.alt_names ?? []).map((value) => ({
    type: isIP(value) ? ('ip' as const) : ('dns' as const),
    value,
  }));
  const certificate = await issue(request.subject, keys, platform.appCa, {
    notBefore: request.not_before,
    notAfter: request.not_after,
    extensions: [
      ...(usages.length > 0 ? [new x509.ExtendedKeyUsageExtension(usages)] : []),
      ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
      extension(OID.appId, platform.appId),
      extension(OID.usage, Buffer.from('app:custom')),
      ...(request.usage_ra_tls ? await attestationExtensions(platform, spki) : []),
    ],
  });
  const pkcs8 = Buffer.from(await crypto.subtle.exportKey('pkcs8', keys.privateKey));
  const key = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }).export({ type: 'pkcs8', format: 'pem' });
  return { key: key.toString(), certificate_chain: [pem(certificate), pem(platform.appCa.certificate)] };
}
