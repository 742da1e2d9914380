/**
 * A simulated TDX platform for the tests of the verifier: own root, PCK certificate, collateral, event log and quote,
 * all genuinely signed. Every part can be bent *before* it is signed, which no manipulation of real evidence can do.
 * Written apart from the verifier and from packages/soft-tee: three readings of the same formats.
 */
import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import {
  computeReportData,
  type Policy,
  parsePolicy,
  type ReportDataPreimage,
  type TdxEvent,
  type TdxEvidence,
} from '../../src/index.ts';
import { bits, context, integer, octets, oid, sequence, TRUE, tlv, utcTime, utf8 } from './der-writer.ts';

export const NOW_MS = Date.parse('2030-06-15T12:00:00Z');
const DAY_MS = 86_400_000;

const hash = (algorithm: string, ...parts: (string | Uint8Array)[]): Buffer => {
  const state = createHash(algorithm);
  for (const part of parts) state.update(part);
  return state.digest();
};
export const sha256 = (...parts: (string | Uint8Array)[]) => hash('sha256', ...parts);

const newKey = () => generateKeyPairSync('ec', { namedCurve: 'P-256' });
const spkiOf = (key: KeyObject) => key.export({ format: 'der', type: 'spki' });
const signRaw = (key: KeyObject, data: Uint8Array) => sign('sha256', data, { key, dsaEncoding: 'ieee-p1363' });
const isP384 = (key: KeyObject) => key.asymmetricKeyDetails?.namedCurve === 'secp384r1';
const algorithmOf = (key: KeyObject) => sequence(oid(isP384(key) ? '1.2.840.10045.4.3.3' : '1.2.840.10045.4.3.2'));
const signDer = (key: KeyObject, tbs: Uint8Array) =>
  sequence(tbs, algorithmOf(key), bits(sign(isP384(key) ? 'sha384' : 'sha256', tbs, key)));
const nameOf = (commonName: string) => sequence(tlv(0x31, sequence(oid('2.5.4.3'), utf8(commonName))));

type Keys = ReturnType<typeof newKey>;

export interface CertificateOptions {
  serial: number;
  subject: string;
  issuer: string;
  notBeforeMs: number;
  notAfterMs: number;
  ca: boolean;
  pathLength: number | null;
  /** First octet of KeyUsage. */
  keyUsage: number;
  extensions: Buffer[];
}

export const extension = (id: string, value: Uint8Array, critical = false) =>
  sequence(oid(id), ...(critical ? [TRUE] : []), octets(value));

export function makeCertificate(options: CertificateOptions, subject: KeyObject, issuer: KeyObject): Buffer {
  const { ca, pathLength } = options;
  const constraints = sequence(...(ca ? [TRUE] : []), ...(pathLength === null ? [] : [integer(pathLength)]));
  const tbs = sequence(
    context(0, integer(2)),
    integer(options.serial),
    algorithmOf(issuer),
    nameOf(options.issuer),
    sequence(utcTime(options.notBeforeMs), utcTime(options.notAfterMs)),
    nameOf(options.subject),
    spkiOf(subject),
    context(
      3,
      sequence(
        extension('2.5.29.19', constraints, true),
        extension('2.5.29.15', bits(Buffer.from([options.keyUsage]), 1), true),
        ...options.extensions,
      ),
    ),
  );
  return signDer(issuer, tbs);
}

export interface CrlOptions {
  issuer: string;
  thisUpdateMs: number;
  nextUpdateMs: number;
  revoked: number[];
  extensions: Buffer[];
}

export function makeCrl(options: CrlOptions, issuer: KeyObject): Buffer {
  const entries = options.revoked.map((serial) => sequence(integer(serial), utcTime(options.thisUpdateMs)));
  const tbs = sequence(
    integer(1),
    algorithmOf(issuer),
    nameOf(options.issuer),
    utcTime(options.thisUpdateMs),
    utcTime(options.nextUpdateMs),
    ...(entries.length > 0 ? [sequence(...entries)] : []),
    context(0, sequence(extension('2.5.29.20', integer(1)), ...options.extensions)),
  );
  return signDer(issuer, tbs);
}

export const toPem = (...ders: Uint8Array[]) =>
  ders
    .map(
      (der) =>
        `-----BEGIN CERTIFICATE-----\n${Buffer.from(der)
          .toString('base64')
          .replace(/(.{64})(?=.)/g, '$1\n')}\n-----END CERTIFICATE-----\n`,
    )
    .join('');

const CERT_SIGN = 0x06; // keyCertSign, cRLSign
const DIGITAL_SIGNATURE = 0x80;
const SGX = '1.2.840.113741.1.13.1';

const sgxExtension = ({ fmspc, pceId, componentSvns, pceSvn, sgxType }: Bent['pck']) =>
  sequence(
    sequence(oid(`${SGX}.1`), octets(Buffer.alloc(16, 7))),
    sequence(
      oid(`${SGX}.2`),
      sequence(
        ...componentSvns.map((svn, i) => sequence(oid(`${SGX}.2.${i + 1}`), integer(svn))),
        sequence(oid(`${SGX}.2.17`), integer(pceSvn)),
        sequence(oid(`${SGX}.2.18`), octets(Buffer.from(componentSvns))),
      ),
    ),
    sequence(oid(`${SGX}.3`), octets(Buffer.from(pceId, 'hex'))),
    sequence(oid(`${SGX}.4`), octets(Buffer.from(fmspc, 'hex'))),
    ...(sgxType === null ? [] : [sequence(oid(`${SGX}.5`), tlv(0x0a, Buffer.of(sgxType)))]),
  );

const RUNTIME = 0x08000001;

export function runtimeEvent(event: string, payload: string | Uint8Array, version?: 2): TdxEvent {
  const hex = Buffer.from(payload).toString('hex');
  const digest =
    version === 2
      ? hash('sha384', `{"name":"${event}","payload":"${hex}","type":${RUNTIME}}`)
      : hash('sha384', Buffer.from('01000008', 'hex'), `:${event}:`, Buffer.from(hex, 'hex'));
  return {
    ...{ imr: 3, event_type: RUNTIME, digest: digest.toString('hex'), event, event_payload: hex },
    ...(version && { version }),
  };
}

const bootEvent = (imr: number, name: string): TdxEvent => ({
  ...{ imr, event_type: 0x80000001, event: '', event_payload: '' },
  digest: hash('sha384', name).toString('hex'),
});

export const replay = (events: readonly TdxEvent[], imr: number): Buffer =>
  events
    .filter((event) => event.imr === imr)
    .reduce<Buffer>((register, { digest }) => hash('sha384', register, Buffer.from(digest, 'hex')), Buffer.alloc(48));

const components = (svn: number) => Array.from({ length: 16 }, () => ({ svn }));
const isoOf = (ms: number) => new Date(ms).toISOString().replace('.000Z', 'Z');

/** All that can be bent. Every member starts as what a good platform has. */
export function goodPlatform() {
  const appCompose = '{\n  "name": "abaton",\n  "docker_compose_file": "services: {}"\n}\n';
  const composeHash = sha256(appCompose);
  const window = { issueDate: isoOf(NOW_MS - DAY_MS), nextUpdate: isoOf(NOW_MS + 29 * DAY_MS) };
  const validity = { notBeforeMs: NOW_MS - 365 * DAY_MS, notAfterMs: NOW_MS + 3650 * DAY_MS };
  const root = 'SIMULATED Root CA';
  const pckCa = 'SIMULATED PCK Platform CA';
  const ca = () => ({ ca: true, keyUsage: CERT_SIGN, extensions: [] as Buffer[], ...validity });
  const leaf = () => ({
    ca: false,
    pathLength: null,
    keyUsage: DIGITAL_SIGNATURE,
    extensions: [] as Buffer[],
    ...validity,
  });
  const listDates = { thisUpdateMs: NOW_MS - DAY_MS, nextUpdateMs: NOW_MS + 29 * DAY_MS };
  return {
    certificates: {
      root: { serial: 1, subject: root, issuer: root, pathLength: 1 as number | null, ...ca() },
      pckCa: { serial: 2, subject: pckCa, issuer: root, pathLength: 0 as number | null, ...ca() },
      pck: { serial: 3, subject: 'SIMULATED PCK Certificate', issuer: pckCa, ...leaf() },
      tcbSigner: { serial: 4, subject: 'SIMULATED TCB Signing', issuer: root, ...leaf() },
    } satisfies Record<string, CertificateOptions>,
    crls: {
      root: { issuer: root, revoked: [] as number[], extensions: [] as Buffer[], ...listDates },
      pck: { issuer: pckCa, revoked: [77] as number[], extensions: [] as Buffer[], ...listDates },
    },
    pck: {
      ...{ fmspc: '00ff00ff00ff', pceId: '0000', componentSvns: Array.from({ length: 16 }, () => 2), pceSvn: 5 },
      /** Intel's certificates have it, 0 for a standard machine; nothing here reads it. */
      sgxType: null as number | null,
    },
    tcbInfo: {
      ...{ id: 'TDX', version: 3, ...window, fmspc: '00FF00FF00FF', pceId: '0000', tcbType: 0 },
      tcbEvaluationDataNumber: 20,
      tdxModule: { mrsigner: '00'.repeat(48), attributes: '00'.repeat(8), attributesMask: 'FF'.repeat(8) },
      tdxModuleIdentities: [
        {
          ...{ id: 'TDX_01', mrsigner: '00'.repeat(48), attributes: '00'.repeat(8), attributesMask: 'FF'.repeat(8) },
          tcbLevels: [
            { tcb: { isvsvn: 11 }, tcbDate: window.issueDate, tcbStatus: 'UpToDate' },
            { tcb: { isvsvn: 6 }, tcbDate: window.issueDate, tcbStatus: 'OutOfDate', advisoryIDs: ['INTEL-SA-00002'] },
          ],
        },
      ],
      tcbLevels: [
        {
          tcb: { sgxtcbcomponents: components(2), pcesvn: 5, tdxtcbcomponents: components(2) },
          ...{ tcbDate: window.issueDate, tcbStatus: 'UpToDate', advisoryIDs: [] as string[] },
        },
        {
          tcb: { sgxtcbcomponents: components(1), pcesvn: 5, tdxtcbcomponents: components(1) },
          ...{ tcbDate: window.issueDate, tcbStatus: 'OutOfDate', advisoryIDs: ['INTEL-SA-00001'] },
        },
      ],
    },
    qeIdentity: {
      ...{ id: 'TD_QE', version: 2, ...window, tcbEvaluationDataNumber: 20 },
      ...{ miscselect: '00000000', miscselectMask: 'FFFFFFFF' },
      ...{ attributes: '11000000000000000000000000000000', attributesMask: 'FBFFFFFFFFFFFFFF0000000000000000' },
      ...{ mrsigner: 'AB'.repeat(32), isvprodid: 2 },
      tcbLevels: [{ tcb: { isvsvn: 4 }, tcbDate: window.issueDate, tcbStatus: 'UpToDate' }],
    },
    qe: {
      mrSigner: 'ab'.repeat(32),
      isvProdId: 2,
      isvSvn: 4,
      attributes: '11000000000000000000000000000000',
      namesKey: true,
      /** The last byte of its report data, which has nothing to say. */
      lastByte: 0,
    },
    td: {
      header: '040002008100000000000000939a7233f79c4ca9940a0db3957f0607'.padEnd(96, '0'),
      teeTcbSvn: `0b01${'02'.repeat(14)}`,
      mrSignerSeam: '00'.repeat(48),
      seamAttributes: '00'.repeat(8),
      tdAttributes: '0000001000000000',
      mrtd: 'cd'.repeat(48),
      mrConfigId: `01${composeHash.toString('hex')}`.padEnd(96, '0'),
      /** Version 5 of the quote: type of its body, and the last fields of type 3. */
      bodyType: null as 1 | 2 | 3 | null,
      teeTcbSvn2: `0b01${'02'.repeat(14)}`,
      mrServiceTd: '00'.repeat(48),
    },
    appCompose,
    eventLog: [
      ...[0, 1, 2].map((imr) => bootEvent(imr, `boot ${imr}`)),
      runtimeEvent('system-preparing', ''),
      runtimeEvent('app-id', composeHash.subarray(0, 20)),
      runtimeEvent('compose-hash', composeHash),
      runtimeEvent('instance-id', 'instance'),
      runtimeEvent('boot-mr-done', ''),
      runtimeEvent('key-provider', '{"name":"simulated","id":""}'),
      runtimeEvent('system-ready', ''),
      runtimeEvent('an-app-event', 'hello'),
    ],
    reportData: {
      nonce: '11'.repeat(32),
      tlsSpkiSha256: '22'.repeat(32),
      tlsExporterSha256: null,
      hpkePublicKey: null,
      auditLogVkeys: ['abaton.example/log+11111111+AQ'],
      gpuEvidenceSha256: null,
      manifestSha256: '33'.repeat(32),
      policySha256: '44'.repeat(32),
      modelRegistrySha256: '55'.repeat(32),
      checkpoint: 'abaton.example/log\n1\nAAAA\n',
    } as ReportDataPreimage,
    /** Certificates that somebody else has signed. */
    forged: [] as (keyof typeof keys)[],
    /** The chain in the quote. */
    quoteChain: ['pck', 'pckCa', 'root'] as ('pck' | 'pckCa' | 'root')[],
    /** Overrides the report_data of the quote, hex. */
    reportDataHex: null as string | null,
    /** Appended to the quote. */
    padding: Buffer.alloc(70),
  };
}
export type Bent = ReturnType<typeof goodPlatform>;

// One set of keys per process: only what is signed differs between tests.
const keys: Record<'root' | 'pckCa' | 'pck' | 'tcbSigner' | 'attestation', Keys> = {
  ...{ root: newKey(), pckCa: newKey(), pck: newKey(), tcbSigner: newKey(), attestation: newKey() },
};
const rawPoint = (key: KeyObject) => spkiOf(key).subarray(-64);
const uint = (value: number, length: 2 | 4) => {
  const bytes = Buffer.alloc(length);
  bytes.writeUIntLE(value, 0, length);
  return bytes;
};

function makeQuote({ qe, td, eventLog, reportData, reportDataHex, padding }: Bent, pckChain: string): Buffer {
  const fromHex = (hex: string) => Buffer.from(hex, 'hex');
  const body = Buffer.concat([
    ...[fromHex(td.teeTcbSvn), Buffer.alloc(48, 9), fromHex(td.mrSignerSeam), fromHex(td.seamAttributes)],
    ...[
      fromHex(td.tdAttributes),
      fromHex('e702060000000000'),
      fromHex(td.mrtd),
      fromHex(td.mrConfigId),
      Buffer.alloc(96),
    ],
    ...[0, 1, 2, 3].map((imr) => replay(eventLog, imr)),
    reportDataHex === null ? computeReportData(reportData) : fromHex(reportDataHex),
    ...(td.bodyType === 3 ? [fromHex(td.teeTcbSvn2), fromHex(td.mrServiceTd)] : []),
  ]);
  const descriptor = td.bodyType === null ? [] : [uint(td.bodyType, 2), uint(body.length, 4)];
  const signed = Buffer.concat([fromHex(td.header), ...descriptor, body]);
  const attestationKey = rawPoint(keys.attestation.publicKey);
  const authData = Buffer.alloc(32, 0x5a);
  const report = Buffer.alloc(384);
  fromHex(qe.attributes).copy(report, 48);
  fromHex(qe.mrSigner).copy(report, 128);
  report.writeUInt16LE(qe.isvProdId, 256);
  report.writeUInt16LE(qe.isvSvn, 258);
  if (qe.namesKey) sha256(attestationKey, authData).copy(report, 320);
  report[383] = qe.lastByte;
  const chain = Buffer.from(`${pckChain}\0`);
  const certification = Buffer.concat([
    ...[report, signRaw(keys.pck.privateKey, report), uint(authData.length, 2), authData],
    ...[uint(5, 2), uint(chain.length, 4), chain],
  ]);
  const signatureData = Buffer.concat([
    ...[signRaw(keys.attestation.privateKey, signed), attestationKey],
    ...[uint(6, 2), uint(certification.length, 4), certification],
  ]);
  return Buffer.concat([signed, uint(signatureData.length, 4), signatureData, padding]);
}

const roots = new Map<string, Buffer>();

/** The same certificate whenever the same is asked for, so that simulations share their root. */
function makeRoot(options: CertificateOptions, signer: KeyObject): Buffer {
  const key = JSON.stringify([options, signer === keys.root.privateKey]);
  const root = roots.get(key) ?? makeCertificate(options, keys.root.publicKey, signer);
  roots.set(key, root);
  return root;
}

export interface Simulation {
  evidence: TdxEvidence;
  rootSha256: string;
  policy: Policy;
  certificates: Record<keyof Bent['certificates'], Buffer>;
}

/** Signs everything after `bend` has changed what it wants. */
export function simulate(bend: (platform: Bent) => void = () => {}): Simulation {
  const platform = goodPlatform();
  bend(platform);
  const { certificates, crls } = platform;
  certificates.pck.extensions.push(extension(SGX, sgxExtension(platform.pck)));
  const signer = (subject: keyof typeof certificates, issuer: 'root' | 'pckCa'): KeyObject =>
    keys[platform.forged.includes(subject) ? 'attestation' : issuer].privateKey;
  const made = {
    root: makeRoot(certificates.root, signer('root', 'root')),
    pckCa: makeCertificate(certificates.pckCa, keys.pckCa.publicKey, signer('pckCa', 'root')),
    pck: makeCertificate(certificates.pck, keys.pck.publicKey, signer('pck', 'pckCa')),
    tcbSigner: makeCertificate(certificates.tcbSigner, keys.tcbSigner.publicKey, signer('tcbSigner', 'root')),
  };
  const tcbInfo = JSON.stringify(platform.tcbInfo);
  const qeIdentity = JSON.stringify(platform.qeIdentity);
  const signText = (text: string) => signRaw(keys.tcbSigner.privateKey, Buffer.from(text)).toString('hex');
  const good = goodPlatform();
  return {
    evidence: {
      ...{ version: 1, teeType: 'intel-tdx', gpu: null, eventLog: platform.eventLog, appCompose: platform.appCompose },
      quote: makeQuote(platform, toPem(...platform.quoteChain.map((name) => made[name]))).toString('hex'),
      reportData: platform.reportData,
      collateral: {
        pck_crl_issuer_chain: toPem(made.pckCa, made.root),
        root_ca_crl: makeCrl(crls.root, keys.root.privateKey).toString('hex'),
        pck_crl: makeCrl(crls.pck, keys.pckCa.privateKey).toString('hex'),
        tcb_info_issuer_chain: toPem(made.tcbSigner, made.root),
        tcb_info: tcbInfo,
        tcb_info_signature: signText(tcbInfo),
        qe_identity_issuer_chain: toPem(made.tcbSigner, made.root),
        qe_identity: qeIdentity,
        qe_identity_signature: signText(qeIdentity),
      },
      requested: { hipaa: true, baaSigned: true, attestationPublic: true },
    },
    rootSha256: sha256(made.root).toString('hex'),
    certificates: made,
    policy: parsePolicy({
      version: 1,
      codeHashes: [`sha256:${sha256(good.appCompose).toString('hex')}`],
      osMeasurements: [
        {
          ...{ name: 'simulated image', mrtd: good.td.mrtd },
          ...{ rtmr0: replay(good.eventLog, 0).toString('hex'), rtmr1: replay(good.eventLog, 1).toString('hex') },
          rtmr2: replay(good.eventLog, 2).toString('hex'),
        },
      ],
    }),
  };
}
