/**
 * Simulated NVIDIA devices: own root, device certificates and SPDM reports, all genuinely signed; every part can be bent
 * before it is signed. What no public sample shows: a GPU whose driver and VBIOS both match their reference measurements.
 */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import type { GpuEvidence } from '../../src/gpu/gpu-evidence.ts';
import type { GpuArchitecture } from '../../src/index.ts';
import { parseCertificate } from '../../src/pki/x509.ts';
import { context, integer, octets, oid, sequence, tlv } from './der-writer.ts';
import type { Party } from './ocsp-authority.ts';
import { type CertificateOptions, extension, makeCertificate, NOW_MS, sha256, toPem } from './simulated-platform.ts';

const newKey = (namedCurve = 'P-384') => generateKeyPairSync('ec', { namedCurve });
/** One set of keys per process: only what is signed differs between tests. */
const keys = { root: newKey(), family: newKey(), leaf: newKey(), stranger: newKey(), weak: newKey('P-256') };
/** But every device has its own, burnt in. */
const deviceKeys = new Map<number, ReturnType<typeof newKey>>();
const deviceKeyOf = (device: number) => {
  const key = deviceKeys.get(device) ?? newKey();
  deviceKeys.set(device, key);
  return key;
};
const validity = { notBeforeMs: NOW_MS - 86_400_000, notAfterMs: Date.parse('2049-12-31T23:59:59Z') };
const ca = (subject: string, issuer: string, serial: number): CertificateOptions => ({
  ...{ serial, subject, issuer, ca: true, pathLength: null, keyUsage: 0x06, extensions: [], ...validity },
});
const ROOT = 'SIMULATED Device Identity CA';
/** Names of device certificates, as NVIDIA gives them. */
const MODELS = { HOPPER: 'GH100 A01 GSP BROM', BLACKWELL: 'GB100 A01 GSP BROM', LS10: 'LS_10 A01 FSP BROM' };

/** All that can be bent. */
export function goodDevice(serial = 1000) {
  return {
    arch: 'HOPPER' as GpuArchitecture,
    /** Which of all devices it is. */
    device: serial,
    /** Null: as the architecture has it. */
    model: null as string | null,
    request: '11e001ff',
    response: '11600000',
    nonce: 'aa'.repeat(32),
    /** Of the list; null: that of the request. */
    listNonce: null as string | null,
    /** SPDM index → value; RIM indices count from 0. */
    measurements: [1, 2, 3].map((index) => ({
      index,
      specification: 1,
      value: String(index).padStart(2, '0').repeat(48),
    })),
    opaque: [
      [6, '0074009620000000'], // 96.00.74.00.20
      [15, hexOf('885\0')],
      [17, hexOf('G520\0')],
      [18, hexOf('0200\0')],
      [3, hexOf('580.159.03\0')],
      [11, 'aa'],
      [20, 'f1'.repeat(48)],
      [255, ''],
      [255, '00'],
    ] as [type: number, hex: string][],
    tail: '',
    firmwareId: 'f1'.repeat(48) as string | null,
    /** Where the leaf names its firmware, and in which form: Blackwell differs. */
    firmwareExtension: '2.23.133.5.4.1',
    dice: false,
    certificates: {
      root: ca(ROOT, ROOT, 1),
      family: ca('SIMULATED Identity', ROOT, 2),
      device: ca('', 'SIMULATED Identity', 20_000 + serial),
      leaf: {
        ...ca('SIMULATED GSP FMC LF', '', serial),
        ...{ ca: false, keyUsage: 0x80 },
      },
    },
    /** The family has a key on P-256. */
    weak: false,
    /** Certificates that somebody else has signed, or the report. */
    forged: [] as ('root' | 'family' | 'device' | 'leaf' | 'report')[],
    chain: ['leaf', 'device', 'family', 'root'] as ('leaf' | 'device' | 'family' | 'root')[],
  };
}
export type BentDevice = ReturnType<typeof goodDevice>;

const hexOf = (text: string) => Buffer.from(text).toString('hex');
const uint = (value: number, length: number) => {
  const bytes = Buffer.alloc(length);
  bytes.writeUIntLE(value, 0, length);
  return bytes;
};
const sized = (value: Uint8Array) => Buffer.concat([uint(value.length, 2), value]);

function makeFirmwareExtension({ firmwareId, firmwareExtension, dice }: BentDevice): Buffer[] {
  if (firmwareId === null) return [];
  const fwid = (hex: string) => sequence(oid('2.16.840.1.101.3.4.2.2'), octets(Buffer.from(hex, 'hex')));
  const spki = keys.leaf.publicKey.export({ format: 'der', type: 'spki' });
  const member = (number: number, hex: string) => tlv(0x80 + number, Buffer.from(hex, 'hex'));
  const value = dice
    ? sequence(
        ...[member(0, hexOf('NVIDIA')), member(1, hexOf('GB100 A01 GSP')), member(2, hexOf('01')), member(3, '01')],
        ...[member(4, '00'), member(5, '00'), context(6, fwid(firmwareId), fwid('00'.repeat(48)))],
        ...[member(7, '0080000001'), member(8, 'c0'), member(9, '00')],
      )
    : sequence(integer(1), spki, fwid(firmwareId));
  return [extension(firmwareExtension, value)];
}

const root = makeCertificate(goodDevice().certificates.root, keys.root.publicKey, keys.root.privateKey);
export const gpuRootSha256 = sha256(root).toString('hex');

type Names = BentDevice['chain'][number];

function makeCertificates(device: BentDevice): Record<Names, Buffer> {
  const { certificates, forged } = device;
  const signer = (name: Names, key: KeyObject) => (forged.includes(name) ? keys.stranger.privateKey : key);
  const { publicKey, privateKey } = deviceKeyOf(device.device);
  const family = device.weak ? keys.weak : keys.family;
  const model = device.model ?? MODELS[device.arch];
  const extensions = [...certificates.leaf.extensions, ...makeFirmwareExtension(device)];
  const isGood = !forged.includes('root') && certificates.root.serial === 1;
  return {
    root: isGood ? root : makeCertificate(certificates.root, keys.root.publicKey, signer('root', keys.root.privateKey)),
    family: makeCertificate(certificates.family, family.publicKey, signer('family', keys.root.privateKey)),
    device: makeCertificate({ ...certificates.device, subject: model }, publicKey, signer('device', family.privateKey)),
    leaf: makeCertificate(
      { ...certificates.leaf, issuer: model, extensions },
      keys.leaf.publicKey,
      signer('leaf', privateKey),
    ),
  };
}

/** The certificates of a device with their keys, for whoever answers about them. */
export function partiesOf(device: BentDevice): Record<Names, Party> {
  const ders = makeCertificates(device);
  const party = (name: string, { publicKey, privateKey }: ReturnType<typeof newKey>, der: Buffer): Party => ({
    ...{ name, publicKey, privateKey, der, certificate: parseCertificate(der) },
  });
  const { leaf, family, root } = device.certificates;
  return {
    leaf: party(leaf.subject, keys.leaf, ders.leaf),
    device: party(device.model ?? MODELS[device.arch], deviceKeyOf(device.device), ders.device),
    family: party(family.subject, keys.family, ders.family),
    root: party(root.subject, keys.root, ders.root),
  };
}

function makeReport({ request, response, nonce, measurements, opaque, tail, forged }: BentDevice): Buffer {
  const record = Buffer.concat(
    measurements.map(({ index, specification, value }) => {
      const measured = Buffer.concat([Buffer.of(1), sized(Buffer.from(value, 'hex'))]);
      return Buffer.concat([Buffer.of(index, specification), sized(measured)]);
    }),
  );
  const fields = Buffer.concat(
    opaque.map(([type, hex]) => Buffer.concat([uint(type, 2), sized(Buffer.from(hex, 'hex'))])),
  );
  const signed = Buffer.concat([
    ...[Buffer.from(request, 'hex'), Buffer.from(nonce, 'hex'), Buffer.of(0), Buffer.from(response, 'hex')],
    ...[Buffer.of(measurements.length), uint(record.length, 3), record, Buffer.alloc(32, 7), sized(fields)],
  ]);
  const key = (forged.includes('report') ? keys.stranger : keys.leaf).privateKey;
  return Buffer.concat([signed, sign('sha384', signed, { key, dsaEncoding: 'ieee-p1363' }), Buffer.from(tail, 'hex')]);
}

/** Signs everything after `bend` has changed what it wants. */
export function simulateGpu(bend: (device: BentDevice) => void = () => {}, serial?: number): GpuEvidence {
  const device = goodDevice(serial);
  bend(device);
  const certificates = makeCertificates(device);
  return {
    arch: device.arch,
    nonce: device.listNonce ?? device.nonce,
    evidence: makeReport(device).toString('base64'),
    certificate: Buffer.from(toPem(...device.chain.map((name) => certificates[name]))).toString('base64'),
  };
}

/** A switch: no driver, VBIOS version as text, nothing said of its firmware. */
export const asSwitch = (device: BentDevice): void => {
  device.arch = 'LS10';
  device.opaque = [[6, hexOf('96.10.55.00.01')]];
};
