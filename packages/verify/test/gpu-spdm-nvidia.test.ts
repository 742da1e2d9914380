/**
 * Reports and certificates of NVIDIA's own devices, against NVIDIA's own reading of them (SOURCES.md beside the data): field
 * by field, and what its attestation service said of the same devices. Flipped bits are in sample-flips.test.ts, whole
 * verdicts in expected-results.test.ts.
 */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { authenticateDeviceChain, verifyArchitecture, verifyReportSignature } from '../src/gpu/device-chain.ts';
import { verifyFirmwareId } from '../src/gpu/firmware-id.ts';
import { verifyDistinct } from '../src/gpu/gpu-devices.ts';
import { parseSpdmReport } from '../src/gpu/spdm-report.ts';
import type { GpuArchitecture } from '../src/index.ts';
import { verifyDates } from '../src/pki/x509.ts';
import { NVIDIA_DEVICE_ROOT_SHA256 } from '../src/roots.ts';
import { hex, json, load, refused, report, SDK, text } from './support/nvidia-samples.ts';
import { skip } from './support/samples.ts';

/** NVIDIA's names of the fields, whose numbers are those of its SDK. */
const FIELDS: Record<string, number> = {
  ...{ DRIVER_VERSION: 3, GPU_INFO: 4, VBIOS_VERSION: 6, NVDEC0_STATUS: 11, MSRSCNT: 12, CPRINFO: 13, BOARD_ID: 14 },
  ...{ CHIP_SKU: 15, CHIP_SKU_MOD: 16, PROJECT: 17, PROJECT_SKU: 18, PROJECT_SKU_MOD: 19, FWID: 20 },
  ...{ PROTECTED_PCIE_STATUS: 21, DEVICE_PDI: 22, DISABLED_PORTS: 23, SWITCH_POSITION_ID: 24, SWITCH_LOCK_STATUS: 25 },
  ...{ SWITCH_GPU_PDIS: 26, SWITCH_PORT: 26 },
};
const PDIS_BYTES = 64; // eight of eight bytes; the ports of the switch follow

/** How NVIDIA writes the field: hex, or a list of what it consists of. */
function written(name: string, value: Uint8Array): unknown {
  const each = (size: number, bytes = value) =>
    Array.from({ length: bytes.length / size }, (_, i) => Buffer.from(bytes.subarray(i * size, (i + 1) * size)));
  const prefixed = (parts: Buffer[]) => parts.map((part) => `0x${hex(part)}`);
  if (name === 'MSRSCNT') return each(4).map((part) => part.readUInt32LE());
  if (name === 'SWITCH_GPU_PDIS') return prefixed(each(8, value.subarray(0, PDIS_BYTES)));
  if (name === 'SWITCH_PORT') return prefixed(each(1, value.subarray(PDIS_BYTES)));
  if (name === 'DISABLED_PORTS')
    return Array.from(BigInt(`0x${hex(value)}`).toString(2)).flatMap((bit) => Array(4).fill(Number(bit)));
  return `0x${hex(value)}`;
}

for (const [file, prefix, arch] of [
  [`${SDK}/hopperAttestationReport.txt`, '', 'HOPPER'],
  [`${SDK}/switchAttestationReport.txt`, 'switch_', 'LS10'],
] as const)
  test(`${file}: every field as NVIDIA reads it`, { skip }, () => {
    const expected = json(`attestation-sdk/expected/${prefix}spdm_parsed_output.json`);
    const bytes = report(file);
    const parsed = parseSpdmReport(bytes, arch);
    assert.equal(`0x${hex(parsed.signature)}`, expected.Signature);
    assert.equal(hex(parsed.signed) + hex(parsed.signature), hex(bytes));

    const blocks = Object.entries(expected.MeasurementRecord.MeasurementBlocks) as [string, Record<string, string>][];
    assert.equal(parsed.measurements.size, expected.NumberOfBlocks);
    assert.deepEqual(
      new Map(Array.from(parsed.measurements, ([index, value]) => [index, `0x${hex(value)}`])),
      new Map(blocks.map(([index, { DMTFSpecMeasurementValue }]) => [Number(index) - 1, DMTFSpecMeasurementValue])),
    );

    const fields = Object.entries(expected.OpaqueData.OpaqueDataField as Record<string, unknown>);
    const seen = new Set<number>();
    for (const [id, value] of fields) {
      const name = id.replace('OPAQUE_FIELD_ID_', '');
      seen.add(FIELDS[name]!);
      assert.deepEqual(written(name, parsed.opaque.get(FIELDS[name]!)!), value, id);
    }
    const newer = [34, 36]; // NVIDIA's Python, which wrote the file, knows no more numbers
    assert.deepEqual(
      [...parsed.opaque.keys()].filter((type) => !seen.has(type)),
      newer.filter((type) => parsed.opaque.has(type)),
    );
  });

for (const [file, prefix] of [
  [`${SDK}/sample/hopperAttestationReport.txt`, ''],
  [`${SDK}/hopperAttestationReport.txt`, ''],
  [`${SDK}/switchAttestationReport.txt`, 'switch_'],
] as const)
  test(`${file}: the offsets of the table`, { skip }, () => {
    const bytes = report(file);
    const at = (offset: number, length: number) => hex(bytes.subarray(offset, offset + length));
    const [n, m] = [bytes.readUIntLE(42, 3), bytes.readUInt16LE(77 + bytes.readUIntLE(42, 3))];
    assert.equal(79 + n + m + 96, bytes.length);
    assert.deepEqual([at(0, 4), at(36, 1), at(37, 4)], ['11e001ff', '00', '11600000']);
    if (file.includes('sample')) return; // NVIDIA publishes no reading of this one
    const request = json(`attestation-sdk/expected/${prefix}spdm_req_parsed_output.json`);
    const response = json(`attestation-sdk/expected/${prefix}spdm_parsed_output.json`);
    assert.deepEqual(request, {
      ...{ SPDMVersion: `0x${at(0, 1)}`, RequestResponseCode: `0x${at(1, 1)}`, Param1: `0x${at(2, 1)}` },
      ...{ Param2: `0x${at(3, 1)}`, Nonce: `0x${at(4, 32)}`, SlotIDParam: `0x${at(36, 1)}` },
    });
    assert.equal(request.Nonce, `0x${hex(parseSpdmReport(bytes, prefix ? 'LS10' : 'HOPPER').nonce)}`);
    const { MeasurementRecord: _, OpaqueData: __, Signature: ___, ...rest } = response;
    assert.deepEqual(rest, {
      ...{ SPDMVersion: `0x${at(37, 1)}`, RequestResponseCode: `0x${at(38, 1)}`, Param1: `0x${at(39, 1)}` },
      ...{ Param2: `0x${at(40, 1)}`, NumberOfBlocks: bytes[41], MeasurementRecordLength: n },
      ...{ Nonce: `0x${at(45 + n, 32)}`, OpaqueLength: m },
    });
  });

interface Device {
  arch: GpuArchitecture;
  driver: string | null;
  vbios: string;
  board: string;
  /** Says for which firmware its key was made. */
  said: boolean;
}
const h100 = (driver: string, vbios: string, board: string, said = true): Device => ({
  ...{ arch: 'HOPPER', driver, vbios, board, said },
});
const nvSwitch = (vbios: string): Device => ({
  arch: 'LS10',
  driver: null,
  vbios,
  board: '5612_0002_890',
  said: false,
});

/** Report and chain in files of their own, or one list of evidence. */
const DEVICES: [report: string, chain: string, devices: Device[]][] = [
  [`${SDK}/hopperAttestationReport.txt`, 'hopperCertChain', [h100('580.159.03', '96.00.74.00.20', '1010_0205_862')]],
  [
    `${SDK}/sample/hopperAttestationReport.txt`,
    'hopperCertChain',
    [h100('535.86.09', '96.00.5E.00.01', '1010_0200_882', false)],
  ],
  [
    `${SDK}/sample/hopperAttestationReportExpired.txt`,
    'hopperCertChainExpired',
    [h100('570.124.03', '96.00.5E.00.04', '1010_0205_862')],
  ],
  [
    'nvtrust/evidence/hopperAttestationReport.txt',
    'hopperCertChain',
    [h100('550.90.07', '96.00.9F.00.01', '1010_0200_882')],
  ],
  [`${SDK}/hopper_evidence.json`, '', [h100('590.12', '96.00.A5.00.01', 'G520_0200_885')]],
  [`${SDK}/evidence_hopper_590_12.json`, '', [h100('590.12', '96.00.A5.00.01', 'G520_0200_885')]],
  [`${SDK}/switchAttestationReport.txt`, 'switchCertChain', [nvSwitch('96.10.55.00.01')]],
  [`${SDK}/sample/switchAttestationReport.txt`, 'switchCertChain', [nvSwitch('96.10.55.00.01')]],
  [`${SDK}/switch_evidence_ls10.json`, '', [nvSwitch('96.10.55.00.01')]],
  [`${SDK}/multi_switch_ls10.json`, '', Array(4).fill(nvSwitch('96.10.55.00.01'))],
  ['nvtrust/evidence/switch_evidence.json', '', Array(4).fill(nvSwitch('96.10.73.00.01'))],
];

const NOW_MS = Date.parse('2026-08-20T12:00:00Z');

for (const [file, chainFile, devices] of DEVICES)
  test(`${file}: ${devices.length} of ${devices[0]!.driver ?? 'a switch'}`, { skip }, async () => {
    const loaded = load(file, chainFile);
    assert.equal(loaded.length, devices.length);
    for (const [index, { arch, driver, vbios, board, said }] of devices.entries()) {
      const [bytes, pem] = loaded[index]!;
      const parsed = parseSpdmReport(bytes, arch);
      assert.deepEqual([parsed.driverVersion, parsed.vbiosVersion], [driver, vbios]);
      assert.equal(parsed.driverRimId, driver && `NV_GPU_DRIVER_GH100_${driver}`);
      const kind = arch === 'LS10' ? 'NV_SWITCH_BIOS' : 'NV_GPU_VBIOS';
      assert.equal(parsed.vbiosRimId, `${kind}_${board}_${vbios.replaceAll('.', '')}`);
      assert.equal(parsed.measurements.size, arch === 'LS10' ? 31 : 64);
      assert.equal(parsed.nvdec0Off, arch === 'HOPPER');

      const chain = await authenticateDeviceChain(pem);
      assert.equal(chain.rootSha256, NVIDIA_DEVICE_ROOT_SHA256);
      verifyDates(chain.certificates, NOW_MS);
      verifyArchitecture(chain, arch);
      await verifyReportSignature(parsed, chain.leaf);
      assert.equal(verifyFirmwareId(parsed, chain.leaf), said);

      // Node's own X.509 reads the same names and numbers.
      const [leaf, device] = pem
        .match(/-----BEGIN[\s\S]+?-----END CERTIFICATE-----/g)!
        .map((one) => new X509Certificate(one));
      assert.equal(BigInt(chain.ueid).toString(16), leaf!.serialNumber.toLowerCase().replace(/^0+/, ''));
      assert.match(device!.subject, new RegExp(`CN=${chain.model}$`));
    }
  });

test('the pinned root is the one that NVIDIA publishes with its verifier', { skip }, () => {
  const { fingerprint256 } = new X509Certificate(text('nvtrust/certs/verifier_device_root.pem'));
  assert.equal(fingerprint256.replaceAll(':', '').toLowerCase(), NVIDIA_DEVICE_ROOT_SHA256);
});

for (const [claims, device, file, chainFile, arch] of [
  ['hopperClaimsv3', 'gpu', 'nvtrust/evidence/hopperAttestationReport.txt', 'hopperCertChain', 'HOPPER'],
  ['switch', 'switch', `${SDK}/switchAttestationReport.txt`, 'switchCertChain', 'LS10'],
] as const)
  test(`${claims}_decoded.json: NVIDIA's service said the same of this device`, { skip }, async () => {
    const [said] = Object.values(json(`attestation-sdk/claims/${claims}_decoded.json`)) as [Record<string, unknown>];
    const [[bytes, pem]] = load(file, chainFile) as [[Uint8Array, string]];
    const parsed = parseSpdmReport(bytes, arch);
    const chain = await authenticateDeviceChain(pem);
    assert.deepEqual([chain.ueid, chain.model, hex(parsed.nonce)], [said.ueid, said.hwmodel, said.eat_nonce]);
    assert.equal(parsed.vbiosVersion, said[`x-nvidia-${device}-${arch === 'LS10' ? 'bios' : 'vbios'}-version`]);
    if (arch === 'HOPPER') assert.equal(parsed.driverVersion, said['x-nvidia-gpu-driver-version']);
  });

test('four switches are four devices; one switch four times is one', { skip }, async () => {
  const chainsOf = (file: string) => Promise.all(load(file, '').map(([, pem]) => authenticateDeviceChain(pem)));
  verifyDistinct(await chainsOf('nvtrust/evidence/switch_evidence.json'));
  const same = await chainsOf(`${SDK}/multi_switch_ls10.json`);
  assert.throws(() => verifyDistinct(same), refused('GPU_DEVICES_REFUSED'));
});

for (const [file, chainFile, arch] of [
  [`${SDK}/sample/hopperAttestationReportInvalidSignature.txt`, 'hopperCertChain', 'HOPPER'],
  [`${SDK}/sample/switchAttestationReportInvalidSignature.txt`, 'switchCertChain', 'LS10'],
  ['nvtrust/evidence/hopperAttestationReport.txt', `../../${SDK}/hopperCertChain`, 'HOPPER'],
] as const)
  test(`${file} is not signed by this device`, { skip }, async () => {
    const [[bytes, pem]] = load(file, chainFile) as [[Uint8Array, string]];
    const parsed = parseSpdmReport(bytes, arch);
    const { leaf } = await authenticateDeviceChain(pem);
    await assert.rejects(verifyReportSignature(parsed, leaf), refused('SIGNATURE_INVALID'));
    if (arch === 'HOPPER') assert.throws(() => verifyFirmwareId(parsed, leaf), refused('GPU_FIRMWARE_MISMATCH'));
  });

test('a real leaf names the firmware of its own reports alone; a driver that should name it has to', {
  skip,
}, async () => {
  const { leaf } = await authenticateDeviceChain(text('nvtrust/evidence/hopperCertChain.txt'));
  const { firmwareId } = parseSpdmReport(report('nvtrust/evidence/hopperAttestationReport.txt'), 'HOPPER');
  for (const at of [0, 20, 47]) {
    const other = Uint8Array.from(firmwareId!);
    other[at]! ^= 1;
    const changed = { firmwareId: other, driverVersion: '550.90.07' };
    assert.throws(() => verifyFirmwareId(changed, leaf), refused('GPU_FIRMWARE_MISMATCH'));
  }
  const silent = (driverVersion: string | null) => () => verifyFirmwareId({ firmwareId: null, driverVersion }, leaf);
  for (const before of ['535.86.09', '545.23', null]) assert.equal(silent(before)(), false);
  for (const since of ['550.54.14', '550', '590.12', 'r590', ''])
    assert.throws(silent(since), refused('GPU_FIRMWARE_MISMATCH', /^none, driver/));
  const names = { ...leaf, extensions: new Map(leaf.extensions) };
  names.extensions.delete('2.23.133.5.4.1');
  assert.throws(
    () => verifyFirmwareId({ firmwareId, driverVersion: null }, names),
    refused('GPU_FIRMWARE_MISMATCH', /names no firmware/),
  );
});

const [H100, SWITCH] = [`${SDK}/hopperAttestationReport.txt`, `${SDK}/switchAttestationReport.txt`];

test('a device is not of another architecture than its certificate says', { skip }, async () => {
  const gpu = await authenticateDeviceChain(text(`${SDK}/hopperCertChain.txt`));
  const other = await authenticateDeviceChain(text(`${SDK}/switchCertChain.txt`));
  for (const [chain, arch] of [
    [gpu, 'BLACKWELL'],
    [gpu, 'LS10'],
    [other, 'HOPPER'],
    [other, 'BLACKWELL'],
  ] as const)
    assert.throws(() => verifyArchitecture(chain, arch), refused('CERTIFICATE_INVALID', /BROM$/));
  // Nor can the report of a switch be read as that of a GPU, or the other way round.
  assert.throws(
    () => parseSpdmReport(report(SWITCH), 'HOPPER'),
    refused('GPU_EVIDENCE_MALFORMED', /VBIOS version of 14/),
  );
  assert.throws(() => parseSpdmReport(report(H100), 'LS10'), refused('GPU_EVIDENCE_MALFORMED', /not text/));
});

test('certificates in another order, number or form', { skip }, async () => {
  const pem = text('nvtrust/evidence/hopperCertChain.txt');
  const other = text(`${SDK}/sample/hopperCertChain.txt`);
  const split = (chain: string) =>
    chain.match(/-----BEGIN[\s\S]+?-----END CERTIFICATE-----/g)!.map((one) => `${one}\n`);
  const [leaf, device, provisioner, family, ca] = split(pem) as [string, string, string, string, string];
  await authenticateDeviceChain([leaf, device, provisioner, family, ca].join(''));
  const bad = {
    'without its root': [leaf, device, provisioner, family],
    'without its leaf': [device, provisioner, family, ca],
    'without a link': [leaf, device, family, ca],
    'root first': [ca, family, provisioner, device, leaf],
    'a certificate twice': [leaf, device, device, provisioner, family, ca],
    'two certificates': [family, ca],
    'nine certificates': [leaf, device, provisioner, family, ca, ca, ca, ca, ca],
    'the leaf of another device': [split(other)[0]!, device, provisioner, family, ca],
    none: [],
    'an empty line between': [leaf, '\n', device, provisioner, family, ca],
    'two empty lines at the end': [leaf, device, provisioner, family, ca, '\n\n'],
    'text before': ['subject=CN = GH100\n', leaf, device, provisioner, family, ca],
    'carriage returns': [pem.replaceAll('\n', '\r\n')],
  };
  for (const [name, chain] of Object.entries(bad))
    await assert.rejects(authenticateDeviceChain(chain.join('')), refused('CERTIFICATE_INVALID'), name);
  await authenticateDeviceChain(`${pem.trimEnd()}\n\n`); // as NVIDIA's own hopperCertChain.txt ends
});
