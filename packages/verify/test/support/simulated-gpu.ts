/**
 * Simulated NVIDIA devices: own root, device certificates and SPDM reports, all genuinely signed; every part can be bent
 * before it is signed. What no public sample shows: a GPU whose driver and VBIOS both match their reference measurements.
 */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import type { GpuEvidence } from '../../src/gpu/gpu-evidence.ts';
import type { GpuArchitecture } from '../../src/index.ts';
import { context, integer, octets, oid, sequence, tlv } from './der-writer.ts';
import { type CertificateOptions, extension, makeCertificate, NOW_MS, sha256, toPem } from './simulated-platform.ts';

const newKey = () => generateKeyPairSync('ec', { namedCurve: 'P-384' });
/** One set of keys per process: only what is signed differs between tests. */
const keys = { root: newKey(), family: newKey(), device: newKey(), leaf: newKey(), stranger: newKey() };
const validity = { notBeforeMs: NOW_MS - 86_400_000, notAfterMs: Date.parse('2049-12-31T23:59:59Z') };
const ca = (subject: string, issuer: string, serial: number): CertificateOptions => ({
  ...{ serial, subject, issuer, ca: true, pathLength: null, keyUsage: 0x06, extensions: [], ...validity },
});
const ROOT = 'SIMULATED Device Identity CA';

/** All that can be bent. */
export function goodDevice(serial = 1000) {
  return {
    arch: 'HOPPER' as GpuArchitecture,
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
      [15, Buffer.from('885\0').toString('hex')],
      [17, Buffer.from('G520\0').toString('hex')],
      [18, Buffer.from('0200\0').toString('hex')],
      [3, Buffer.from('580.159.03\0').toString('hex')],
      [11, 'aa'],
      [20, 'f1'.repeat(48)],
      [255, ''],
      [255, '00'],
    ] as [type: number, hex: string][],
    tail: '',
    firmwareId: 'f1'.repeat(48) as string | null,
    /** Blackwell names its firmware in another extension. */
    dice: false,
    certificates: {
      root: ca(ROOT, ROOT, 1),
      family: ca('SIMULATED Identity', ROOT, 2),
      device: ca('SIMULATED GSP BROM', 'SIMULATED Identity', 3),
      leaf: {
        ...ca('SIMULATED GSP FMC LF', 'SIMULATED GSP BROM', serial),
        ...{ ca: false, keyUsage: 0x80 },
      },
    },
    /** Certificates that somebody else has signed, or the report. */
    forged: [] as ('root' | 'family' | 'device' | 'leaf' | 'report')[],
    chain: ['leaf', 'device', 'family', 'root'] as ('leaf' | 'device' | 'family' | 'root')[],
  };
}
export type BentDevice = ReturnType<typeof goodDevice>;

const uint = (value: number, length: number) => {
  const bytes = Buffer.alloc(length);
  bytes.writeUIntLE(value, 0, length);
  return bytes;
};
const sized = (value: Uint8Array) => Buffer.concat([uint(value.length, 2), value]);

function firmwareExtension({ firmwareId, dice }: BentDevice): Buffer[] {
  if (firmwareId === null) return [];
  const fwid = sequence(oid('2.16.840.1.101.3.4.2.2'), octets(Buffer.from(firmwareId, 'hex')));
  if (dice) return [extension('2.23.133.5.4.1.1', sequence(tlv(0x83, Buffer.of(1)), context(6, fwid)))];
  const spki = keys.leaf.publicKey.export({ format: 'der', type: 'spki' });
  return [extension('2.23.133.5.4.1', sequence(integer(1), spki, fwid))];
}

const root = makeCertificate(goodDevice().certificates.root, keys.root.publicKey, keys.root.privateKey);
export const gpuRootSha256 = sha256(root).toString('hex');

function makeChain(device: BentDevice): Buffer {
  const { certificates, forged, chain } = device;
  const signer = (name: keyof typeof certificates, key: KeyObject) =>
    forged.includes(name) ? keys.stranger.privateKey : key;
  const leaf = { ...certificates.leaf, extensions: [...certificates.leaf.extensions, ...firmwareExtension(device)] };
  const made = {
    root: forged.includes('root')
      ? makeCertificate(certificates.root, keys.root.publicKey, keys.stranger.privateKey)
      : JSON.stringify(certificates.root) === JSON.stringify(goodDevice().certificates.root)
        ? root
        : makeCertificate(certificates.root, keys.root.publicKey, keys.root.privateKey),
    family: makeCertificate(certificates.family, keys.family.publicKey, signer('family', keys.root.privateKey)),
    device: makeCertificate(certificates.device, keys.device.publicKey, signer('device', keys.family.privateKey)),
    leaf: makeCertificate(leaf, keys.leaf.publicKey, signer('leaf', keys.device.privateKey)),
  };
  return Buffer.from(toPem(...chain.map((name) => made[name])));
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
  return {
    arch: device.arch,
    nonce: device.listNonce ?? device.nonce,
    evidence: makeReport(device).toString('base64'),
    certificate: makeChain(device).toString('base64'),
  };
}

/** A switch: no driver, VBIOS version as text, nothing said of its firmware. */
export const asSwitch = (device: BentDevice): void => {
  device.arch = 'LS10';
  device.opaque = [[6, Buffer.from('96.10.55.00.01').toString('hex')]];
};
