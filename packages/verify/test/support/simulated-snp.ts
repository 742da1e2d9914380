/**
 * A simulated SEV-SNP platform for the tests of the verifier: own root, CA, VCEK or VLEK, revocation list and report, all
 * genuinely signed (RSASSA-PSS of 4096 bits, P-384). Every part can be bent *before* it is signed. Written apart from the
 * verifier, from the tables of AMD's documents (56860, 57230).
 */
import { constants, createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import type { SnpProduct } from '../../src/policy.ts';
import { bits, context, integer, oid, sequence, TRUE, tlv, utcTime, utf8 } from './der-writer.ts';
import { extension, NOW_MS, toPem } from './simulated-platform.ts';

const DAY_MS = 86_400_000;

/** Keys of 4096 bits take a second each: made when first needed, once per process. */
const lazily = <T>(make: () => T): (() => T) => {
  let made: T | undefined;
  return () => {
    made ??= make();
    return made;
  };
};
const rsa = () => lazily(() => generateKeyPairSync('rsa', { modulusLength: 4096 }));
const p384 = () => lazily(() => generateKeyPairSync('ec', { namedCurve: 'P-384' }));
export const keys = { root: rsa(), ca: rsa(), leaf: p384(), stranger: p384(), strangeRsa: rsa() };
export type KeyName = keyof typeof keys;

const NULL = tlv(0x05);
const SHA384 = sequence(oid('2.16.840.1.101.3.4.2.2'), NULL);
const MGF1 = sequence(oid('1.2.840.113549.1.1.8'), SHA384);
const pss = (...rest: Buffer[]) =>
  sequence(
    oid('1.2.840.113549.1.1.10'),
    sequence(context(0, SHA384), context(1, MGF1), context(2, integer(48)), ...rest),
  );
/** AMD's CAs name the default trailer field, its key distribution service does not. */
const ALGORITHM = {
  leaf: pss(),
  ca: pss(context(3, integer(1))),
  ecdsa: sequence(oid('1.2.840.10045.4.3.3')),
} as const;

const spkiOf = (key: KeyObject) => key.export({ format: 'der', type: 'spki' });
const signatures = new Map<string, Buffer>(); // the same bytes need signing once

function signedBy(signer: KeyName, tbs: Buffer, algorithm: Buffer): Buffer {
  const name = `${signer} ${createHash('sha256').update(tbs).digest('hex')}`;
  const key = keys[signer]().privateKey;
  const padding = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 48 };
  const signature =
    signatures.get(name) ?? sign('sha384', tbs, key.asymmetricKeyType === 'rsa' ? { key, ...padding } : key);
  signatures.set(name, signature);
  return sequence(tbs, algorithm, bits(signature));
}

/** A name as it is, or one made of a common name. */
const nameOf = (name: string | Buffer): Buffer => {
  if (typeof name !== 'string') return name;
  return sequence(
    ...[
      ['2.5.4.11', 'Engineering'],
      ['2.5.4.10', 'Advanced Micro Devices'],
      ['2.5.4.3', name],
    ].map(([type, value]) => tlv(0x31, sequence(oid(type!), utf8(value!)))),
  );
};

interface SnpCertificate {
  serial: number;
  subject: string | Buffer;
  issuer: string | Buffer;
  notBeforeMs: number;
  notAfterMs: number;
  /** Null: no such extension, as in VCEK and VLEK. */
  ca: boolean | null;
  keyUsage: number | null;
  key: KeyName;
  signer: KeyName;
  algorithm: keyof typeof ALGORITHM;
}

function makeCertificate(options: SnpCertificate, extensions: readonly Buffer[]): Buffer {
  const { ca, keyUsage, key, signer, algorithm } = options;
  const tbs = sequence(
    context(0, integer(2)),
    integer(options.serial),
    ALGORITHM[algorithm],
    nameOf(options.issuer),
    sequence(utcTime(options.notBeforeMs), utcTime(options.notAfterMs)),
    nameOf(options.subject),
    spkiOf(keys[key]().publicKey),
    context(
      3,
      sequence(
        ...(ca === null ? [] : [extension('2.5.29.19', sequence(...(ca ? [TRUE] : [])), true)]),
        ...(keyUsage === null ? [] : [extension('2.5.29.15', bits(Buffer.of(keyUsage), 1), true)]),
        ...extensions,
      ),
    ),
  );
  return signedBy(signer, tbs, ALGORITHM[algorithm]);
}

export type Tcb = Record<'fmc' | 'bootLoader' | 'tee' | 'snp' | 'microcode', number>;
export type Kind = 'VCEK' | 'VLEK';

const AMD = '1.3.6.1.4.1.3704.1';

function leafExtensions({ kind, product, leaf }: BentSnp): Buffer[] {
  const svn = (arc: string, value: number) => extension(`${AMD}.3.${arc}`, integer(value));
  const { structVersion, productName, tcb, hwId, cspId } = leaf;
  const spls = product === 'Turin' ? ['5', '6', '7'] : ['4', '5', '6', '7'];
  return [
    ...(structVersion === null ? [] : [extension(`${AMD}.1`, integer(structVersion))]),
    extension(`${AMD}.2`, tlv(leaf.productNameTag, Buffer.from(productName))),
    ...[svn('1', tcb.bootLoader), svn('2', tcb.tee), ...spls.map((spl) => svn(spl, 0)), svn('3', tcb.snp)],
    svn('8', tcb.microcode),
    ...(product === 'Turin' && leaf.namesFmc ? [svn('9', tcb.fmc)] : []),
    ...(kind === 'VCEK' && hwId ? [extension(`${AMD}.4`, leaf.hwIdAsOctetString ? tlv(0x04, hwId) : hwId)] : []),
    ...(cspId === null ? [] : [extension(`${AMD}.5`, tlv(0x16, Buffer.from(cspId)))]),
  ];
}

/** TCB_VERSION, 8 bytes. */
function tcbVersion(product: SnpProduct, { fmc, bootLoader, tee, snp, microcode }: Tcb): Buffer {
  return product === 'Turin'
    ? Buffer.of(fmc, bootLoader, tee, snp, 0, 0, 0, microcode)
    : Buffer.of(bootLoader, tee, 0, 0, 0, 0, snp, microcode);
}

function makeReport({ product, report, version }: BentSnp): Buffer {
  const bytes = Buffer.alloc(0x4a0);
  const tcb = (value: Tcb, offset: number) => tcbVersion(product, value).copy(bytes, offset);
  bytes.writeUInt32LE(version, 0);
  bytes.writeBigUInt64LE(report.policy, 0x8);
  bytes.writeUInt32LE(report.vmpl, 0x30);
  bytes.writeUInt32LE(report.signatureAlgorithm, 0x34);
  tcb(report.currentTcb, 0x38);
  bytes.writeBigUInt64LE(report.platformInfo, 0x40);
  bytes.writeUInt32LE(report.keyInfo, 0x48);
  report.reportData.copy(bytes, 0x50);
  report.measurement.copy(bytes, 0x90);
  report.hostData.copy(bytes, 0xc0);
  bytes.fill(0x1d, 0x140, 0x160); // report id
  bytes.fill(0xff, 0x160, 0x180); // of a migration agent: none
  tcb(report.reportedTcb, 0x180);
  if (version >= 3) Buffer.from(report.cpuid).copy(bytes, 0x188);
  report.chipId.copy(bytes, 0x1a0);
  tcb(report.committedTcb, 0x1e0);
  bytes.write('1d3701001d370100', 0x1e8, 'hex'); // firmware 1.55.29
  tcb(report.launchTcb, 0x1f0);
  if (version >= 5) bytes.fill(0x0f, 0x1f8, 0x208);
  for (const [offset, value] of report.patches) bytes[offset] = value;
  const { privateKey } = keys[report.signer]();
  const signature = sign('sha384', bytes.subarray(0, 0x2a0), { key: privateKey, dsaEncoding: 'ieee-p1363' });
  signature.subarray(0, 48).reverse().copy(bytes, 0x2a0);
  signature
    .subarray(48)
    .reverse()
    .copy(bytes, 0x2a0 + 72);
  return bytes;
}

function makeCrl({ crl }: BentSnp): Buffer {
  const entries = crl.revoked.map((serial) => sequence(integer(serial), utcTime(crl.thisUpdateMs)));
  const tbs = sequence(
    ...[integer(1), ALGORITHM.ca, nameOf(crl.issuer), utcTime(crl.thisUpdateMs), utcTime(crl.nextUpdateMs)],
    ...(entries.length > 0 ? [sequence(...entries)] : []),
    context(0, sequence(extension('2.5.29.20', integer(1)))),
  );
  return signedBy(crl.signer, tbs, ALGORITHM.ca);
}

/** CPUID family, model and stepping; the names in certificates (a VLEK has no stepping). */
const CPU = { Milan: [0x19, 0x01, 0x01], Genoa: [0x19, 0x11, 0x01], Turin: [0x1a, 0x02, 0x01] } as const;
const CERT_SIGN = 0x04; // keyCertSign
const LIST_SIGN = 0x06; // and cRLSign

/** All that can be bent. Every member starts as what a good platform has. */
export function goodSnp(product: SnpProduct, kind: Kind, version: number) {
  const tcb = (): Tcb => ({ fmc: product === 'Turin' ? 1 : 0, bootLoader: 4, tee: 1, snp: 24, microcode: 219 });
  const chip = createHash('sha512').update(product).digest();
  const hwId = product === 'Turin' ? chip.subarray(0, 8) : chip;
  const ca = kind === 'VCEK' ? `SIMULATED SEV-${product}` : `SIMULATED SEV-VLEK-${product}`;
  const root = `SIMULATED ARK-${product}`;
  const dates = { notBeforeMs: NOW_MS - 365 * DAY_MS, notAfterMs: NOW_MS + 3650 * DAY_MS };
  const asCa = { ...dates, ca: true as boolean | null, signer: 'root' as KeyName };
  const algorithm = (name: keyof typeof ALGORITHM) => name;
  const name = (commonName: string): string | Buffer => commonName;
  return {
    product,
    kind,
    version,
    certificates: {
      root: {
        ...{ serial: 0x100, subject: name(root), issuer: name(root), ...asCa, keyUsage: LIST_SIGN as number | null },
        ...{ key: 'root' as KeyName, algorithm: algorithm('ca') },
      },
      ca: {
        ...{ serial: 0x101, subject: name(ca), issuer: name(root), ...asCa, keyUsage: CERT_SIGN as number | null },
        ...{ key: 'ca' as KeyName, algorithm: algorithm('ca') },
      },
      leaf: {
        ...{
          serial: 0,
          subject: name(`SIMULATED SEV-${kind}`),
          issuer: name(ca),
          ...dates,
          ca: null as boolean | null,
        },
        ...{ keyUsage: null as number | null, key: 'leaf' as KeyName, signer: 'ca' as KeyName },
        algorithm: algorithm('leaf'),
      },
    },
    leaf: {
      structVersion: (product === 'Turin' ? 1 : 0) as number | null,
      productName: kind === 'VCEK' && product === 'Milan' ? 'Milan-B0' : (product as string),
      productNameTag: 0x16,
      tcb: tcb(),
      namesFmc: true,
      hwId: (kind === 'VCEK' ? hwId : null) as Buffer | null,
      hwIdAsOctetString: false,
      cspId: (kind === 'VLEK' ? 'simulated.example' : null) as string | null,
    },
    /** Which certificates are given, in order. */
    chain: ['leaf', 'ca', 'root'] as ('leaf' | 'ca' | 'root')[],
    crl: {
      ...{ issuer: root, revoked: [0x177] as number[], signer: 'root' as KeyName },
      ...{ thisUpdateMs: NOW_MS - DAY_MS, nextUpdateMs: NOW_MS + 29 * DAY_MS },
    },
    report: {
      ...{ policy: 0x30000n, vmpl: 0, signatureAlgorithm: 1, platformInfo: 0x25n, keyInfo: kind === 'VCEK' ? 0 : 4 },
      ...{ currentTcb: tcb(), reportedTcb: tcb(), committedTcb: tcb(), launchTcb: tcb() },
      reportData: Buffer.alloc(64, 0x5e),
      measurement: Buffer.alloc(48, 0xcd),
      hostData: Buffer.alloc(32, 0xd5),
      cpuid: CPU[product] as readonly number[],
      chipId: Buffer.concat([hwId, Buffer.alloc(64 - hwId.length)]),
      /** Bytes set last, before signing. */
      patches: [] as [offset: number, value: number][],
      signer: 'leaf' as KeyName,
    },
  };
}
export type BentSnp = ReturnType<typeof goodSnp>;

export interface SnpSimulation {
  report: Buffer;
  /** PEM. */
  certificates: string;
  crl: Buffer;
  rootSha256: string;
}

export function simulateSnp(bent: BentSnp): SnpSimulation {
  const { root, ca, leaf } = bent.certificates;
  const ders = {
    root: makeCertificate(root, []),
    ca: makeCertificate(ca, []),
    leaf: makeCertificate(leaf, leafExtensions(bent)),
  };
  return {
    report: makeReport(bent),
    certificates: toPem(...bent.chain.map((name) => ders[name])),
    crl: makeCrl(bent),
    rootSha256: createHash('sha256').update(ders.root).digest('hex'),
  };
}
