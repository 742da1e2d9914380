/**
 * Collateral comes from whoever wants to be believed, so every part of it is authenticated up to the root of the quote.
 * Signatures do not age: they are verified once per collateral and kept; dates are compared each time.
 */
import type { VerificationCode } from '../codes.ts';
import { reading, refuse } from '../errors.ts';
import type { TdxCollateral } from '../evidence.ts';
import { equalBytes, hexToBytes, utf8ToBytes } from '../formats/bytes.ts';
import { parsePemChain } from '../formats/pem.ts';
import { type Crl, parseCrl, verifyCrl, verifyCrlDates, verifyNotRevoked } from '../pki/crl.ts';
import { verifySignature } from '../pki/signature.ts';
import { type Certificate, isoOf, isWithin, parseCertificate, verifyChain, verifyDates } from '../pki/x509.ts';
import { type PckPlatform, parsePckPlatform } from './pck-extension.ts';
import { parseQeIdentity, parseTcbInfo, type QeIdentity, type TcbInfo } from './tcb-info.ts';

const DAY_MS = 86_400_000;

/** Leaf, CA and root, verified, and the platform that the leaf names. Whether the root is trusted is another question. */
export interface PckChain {
  leaf: Certificate;
  ca: Certificate;
  root: Certificate;
  rootDer: Uint8Array;
  platform: PckPlatform;
}

export interface RevocationLists {
  root: Crl;
  pck: Crl;
  /** Who issued `pck`, and the root. */
  issuerChain: Certificate[];
}

export interface TcbCollateral {
  tcbInfo: TcbInfo;
  qeIdentity: QeIdentity;
  signerChains: Certificate[][];
}

/** Whatever the date: one machine shows the same chain for years. Throws CERTIFICATE_INVALID. */
export async function authenticatePckChain(ders: readonly [Uint8Array, Uint8Array, Uint8Array]): Promise<PckChain> {
  const [leaf, ca, root] = reading('CERTIFICATE_INVALID', 'PCK chain', () => {
    const [leafDer, caDer, rootDer] = ders;
    return [parseCertificate(leafDer), parseCertificate(caDer), parseCertificate(rootDer)] as const;
  });
  const platform = reading('CERTIFICATE_INVALID', 'PCK certificate', () => parsePckPlatform(leaf));
  await verifyChain([leaf, ca, root], 'leaf');
  return { leaf, ca, root, rootDer: ders[2], platform };
}

/** Both lists, signed under this root, whatever the date. Throws CRL_INVALID or CERTIFICATE_INVALID. */
export async function authenticateLists(collateral: TdxCollateral, rootDer: Uint8Array): Promise<RevocationLists> {
  const code = 'CRL_INVALID';
  const issuerChain = await authenticateChain(code, collateral.pck_crl_issuer_chain, rootDer, 'ca');
  const [pck, root] = reading(code, 'CRL', () => [
    parseCrl(hexToBytes(collateral.pck_crl)),
    parseCrl(hexToBytes(collateral.root_ca_crl)),
  ]);
  await verifyCrl(pck!, issuerChain[0]!);
  await verifyCrl(root!, issuerChain[1]!);
  return { pck: pck!, root: root!, issuerChain };
}

/**
 * The lists are in date, they are those of this chain, and none of its certificates is on them.
 * Throws CRL_EXPIRED, COLLATERAL_TOO_OLD, CRL_INVALID, CERTIFICATE_INVALID or CERTIFICATE_REVOKED.
 */
export function verifyLists(
  lists: RevocationLists,
  { leaf, ca, root }: PckChain,
  maxAgeDays: number | null,
  nowMs: number,
): RevocationLists {
  const [issuer] = lists.issuerChain;
  verifySameAuthority(issuer!, ca);
  verifyDates(lists.issuerChain, nowMs);
  for (const list of [lists.root, lists.pck]) verifyCrlDates(list, nowMs);
  verifyAge('CRL', lists.pck.thisUpdateMs, maxAgeDays, nowMs); // Intel renews that of the root but once a year
  for (const certificate of [leaf, ca, root, issuer!])
    for (const list of [lists.root, lists.pck]) verifyNotRevoked(certificate, list);
  return lists;
}

/** TCB info and QE identity, signed under this root, whatever the date. Throws COLLATERAL_INVALID or CERTIFICATE_INVALID. */
export async function authenticateTcb(collateral: TdxCollateral, rootDer: Uint8Array): Promise<TcbCollateral> {
  const code = 'COLLATERAL_INVALID';
  const { tcb_info, qe_identity } = collateral;
  const tcbChain = await authenticateChain(code, collateral.tcb_info_issuer_chain, rootDer, 'leaf');
  await authenticateText('TCB info', tcb_info, collateral.tcb_info_signature, tcbChain[0]!);
  const qeChain = await authenticateChain(code, collateral.qe_identity_issuer_chain, rootDer, 'leaf');
  await authenticateText('QE identity', qe_identity, collateral.qe_identity_signature, qeChain[0]!);
  return {
    tcbInfo: reading(code, 'TCB info', () => parseTcbInfo(tcb_info)),
    qeIdentity: reading(code, 'QE identity', () => parseQeIdentity(qe_identity)),
    signerChains: [tcbChain, qeChain],
  };
}

/**
 * Both documents are in date, their signers are not on the root's list, and they speak of this platform. `lists` is
 * null when its own check has failed. Throws COLLATERAL_EXPIRED, COLLATERAL_TOO_OLD, COLLATERAL_INVALID,
 * CERTIFICATE_INVALID or CERTIFICATE_REVOKED.
 */
export function verifyTcb(
  tcb: TcbCollateral,
  { platform }: PckChain,
  lists: RevocationLists | null,
  maxAgeDays: number | null,
  nowMs: number,
): TcbCollateral {
  for (const chain of tcb.signerChains) {
    verifyDates(chain, nowMs);
    if (lists) verifyNotRevoked(chain[0]!, lists.root);
  }
  for (const { issueDate, nextUpdate } of [tcb.tcbInfo, tcb.qeIdentity]) {
    const seen = `${isoOf(issueDate)} to ${isoOf(nextUpdate)}`;
    if (!isWithin(nowMs, issueDate, nextUpdate))
      refuse('COLLATERAL_EXPIRED', `collateral valid at ${isoOf(nowMs)}`, seen);
    verifyAge('collateral', issueDate, maxAgeDays, nowMs);
  }
  verifySamePlatform(tcb.tcbInfo, platform);
  return tcb;
}

/** Not the same certificate, for it may have been renewed, but the same name and key. Throws CRL_INVALID. */
export function verifySameAuthority(issuer: Certificate, ca: Certificate): void {
  if (!equalBytes(issuer.subject, ca.subject) || !equalBytes(issuer.spki, ca.spki))
    refuse('CRL_INVALID', 'a CRL of the CA that issued the PCK certificate', 'one of another CA');
}

/** Throws COLLATERAL_INVALID. */
export function verifySamePlatform(info: TcbInfo, platform: PckPlatform): void {
  const [expected, seen] = [platform, info].map(({ fmspc, pceId }) => `FMSPC ${fmspc}, PCEID ${pceId}`);
  if (seen !== expected) refuse('COLLATERAL_INVALID', `TCB info for ${expected}`, seen!);
}

function verifyAge(what: string, issuedMs: number, maxAgeDays: number | null, nowMs: number): void {
  if (maxAgeDays !== null && nowMs > issuedMs + maxAgeDays * DAY_MS)
    refuse('COLLATERAL_TOO_OLD', `${what} issued within ${maxAgeDays} days before ${isoOf(nowMs)}`, isoOf(issuedMs));
}

/**
 * [signer, root]. Intel's root signs TCB signers itself, while PCK certificates hang below a CA: the length of the chain
 * keeps a stolen PCK key from signing collateral.
 */
async function authenticateChain(
  code: VerificationCode,
  pem: string,
  rootDer: Uint8Array,
  first: 'leaf' | 'ca',
): Promise<Certificate[]> {
  const ders = reading(code, 'issuer chain', () => parsePemChain(pem));
  if (ders.length !== 2) refuse(code, 'an issuer chain of two certificates', `${ders.length}`);
  if (!equalBytes(ders[1]!, rootDer)) refuse(code, 'an issuer chain up to the root of the quote', 'another root');
  const chain = reading(code, 'issuer chain', () => ders.map(parseCertificate));
  await verifyChain(chain, first);
  return chain;
}

async function authenticateText(what: string, text: string, signature: string, signer: Certificate): Promise<void> {
  if (!(await verifySignature(signer.publicKey, hexToBytes(signature), utf8ToBytes(text))))
    refuse('COLLATERAL_INVALID', `${what} signed by its issuer`, 'a signature that does not verify');
}
