/**
 * The form of GPU evidence: NVIDIA's own reports cut, lengthened and rewritten, lists of older tools, and anything at all.
 * Structure is exact, and what is not known is kept by its number.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { authenticateDeviceChain } from '../src/gpu/device-chain.ts';
import { decodeGpuEvidence, type GpuEvidence, parseGpuEvidence } from '../src/gpu/gpu-evidence.ts';
import { parseSpdmReport } from '../src/gpu/spdm-report.ts';
import { VerificationError } from '../src/index.ts';
import { hex, json, refused, report, SDK, text } from './support/nvidia-samples.ts';
import { runs } from './support/property.ts';
import { skip } from './support/samples.ts';

const [H100, SWITCH] = [`${SDK}/hopperAttestationReport.txt`, `${SDK}/switchAttestationReport.txt`];

test('a report that is cut off or has more, at every length', { skip }, () => {
  for (const [file, arch] of [
    [H100, 'HOPPER'],
    [SWITCH, 'LS10'],
  ] as const) {
    const bytes = report(file);
    for (let length = 0; length < bytes.length; length++)
      assert.throws(
        () => parseSpdmReport(bytes.subarray(0, length), arch),
        refused('GPU_EVIDENCE_MALFORMED'),
        `${length}`,
      );
    assert.throws(
      () => parseSpdmReport(Buffer.concat([bytes, Buffer.of(0)]), arch),
      refused('GPU_EVIDENCE_MALFORMED', /follow the signature/),
    );
  }
});

/** Puts other opaque data into a real report; nobody signs it. */
function withOpaque(file: string, change: (opaque: Buffer) => Buffer): Buffer {
  const bytes = report(file);
  const start = 77 + bytes.readUIntLE(42, 3);
  const end = start + 2 + bytes.readUInt16LE(start);
  const opaque = change(bytes.subarray(start + 2, end));
  const length = Buffer.alloc(2);
  length.writeUInt16LE(opaque.length);
  return Buffer.concat([bytes.subarray(0, start), length, opaque, bytes.subarray(end)]);
}
const field = (type: number, value: string, size = value.length / 2) => {
  const head = Buffer.alloc(4);
  head.writeUInt16LE(type, 0);
  head.writeUInt16LE(size, 2);
  return Buffer.concat([head, Buffer.from(value, 'hex')]);
};
const more = (...fields: Buffer[]) =>
  parseSpdmReport(
    withOpaque(H100, (old) => Buffer.concat([old, ...fields])),
    'HOPPER',
  );

test('opaque data: unknown numbers are kept, none occurs twice, sizes fit, newer formats are named', { skip }, () => {
  const parsed = more(field(99, 'abcd'), field(65535, ''), field(255, '00'), field(255, '00'));
  assert.deepEqual([hex(parsed.opaque.get(99)!), parsed.opaque.get(65535)?.length], ['abcd', 0]);
  assert.equal(parsed.opaque.has(255), false);
  for (const [seen, ...fields] of [
    [/99 occurs twice/, field(99, 'ab'), field(99, 'ab')],
    [/6 occurs twice/, field(6, '0074009620000000')],
    [/are left/, field(99, 'abcd', 3)],
    [/are left/, field(99, '', 1)],
    [/are left/, Buffer.of(99)],
  ] as [RegExp, ...Buffer[]][])
    assert.throws(() => more(...fields), refused('GPU_EVIDENCE_MALFORMED', seen), String(seen));

  const instead = (change: (opaque: Buffer) => Buffer) => () => parseSpdmReport(withOpaque(H100, change), 'HOPPER');
  const nvdaod = Buffer.concat([Buffer.from('NVDAOD'), Buffer.alloc(6)]); // magic, profile, version, reserved
  assert.throws(
    instead((old) => Buffer.concat([nvdaod, old])),
    refused('GPU_EVIDENCE_UNSUPPORTED', /^NVDAOD$/),
  );
  const version = (value: string) => instead((old) => replaceField(old, 34, value));
  for (const value of ['0000', '0100', '0200', '02', '']) assert.doesNotThrow(version(value));
  for (const value of ['0300', '0001', 'ff', '0100000000000001'])
    assert.throws(version(value), refused('GPU_EVIDENCE_UNSUPPORTED'), value);
  assert.throws(
    instead((old) => replaceField(old, 20, 'ab')),
    refused('GPU_EVIDENCE_MALFORMED', /firmware id of 1 bytes/),
  );
  const driver = (value: string) => instead((old) => replaceField(old, 3, value));
  assert.equal(driver('3539302e3132'.padEnd(128, '0'))().driverVersion, '590.12');
  for (const value of ['3539302e3132'.padEnd(130, '0'), `${'00'.repeat(20_000)}78`])
    assert.throws(driver(value), refused('GPU_EVIDENCE_MALFORMED', /a text of \d+ bytes/));
  const nvdec0 = (value: string) => instead((old) => replaceField(old, 11, value))().nvdec0Off;
  assert.deepEqual([nvdec0('55'), nvdec0('aa'), nvdec0('00'), nvdec0('')], [true, false, false, false]);
});

function replaceField(opaque: Buffer, type: number, value: string): Buffer {
  for (let at = 0; at < opaque.length; ) {
    const end = at + 4 + opaque.readUInt16LE(at + 2);
    if (opaque.readUInt16LE(at) === type)
      return Buffer.concat([opaque.subarray(0, at), field(type, value), opaque.subarray(end)]);
    at = end;
  }
  throw new Error(`no field ${type}`);
}

test('measurements: counted exactly, none twice, none of another specification', { skip }, () => {
  const BLOCK = 55; // of SHA-384: 4 + 3 + 48
  const change = (offset: number, value: number) => {
    const bytes = report(H100);
    bytes[offset] = value;
    return () => parseSpdmReport(bytes, 'HOPPER');
  };
  for (const [offset, value, seen] of [
    [41, 0, /no measurement/],
    [41, 63, /follow the measurements/],
    [41, 65, /are left/],
    [45, 0, /zero, or occurs twice/],
    [45, 2, /zero, or occurs twice/],
    [46, 2, /DMTF/],
    [47, BLOCK, /follow a measurement/],
    [50, 47, /follow a measurement/],
    [50, 49, /are left/],
  ] as const)
    assert.throws(change(offset, value), refused('GPU_EVIDENCE_MALFORMED', seen), `${offset} ${value}`);
  for (const offset of [0, 37]) assert.throws(change(offset, 0x12), refused('GPU_EVIDENCE_UNSUPPORTED', /^12$/));
  for (const offset of [1, 38]) assert.throws(change(offset, 0x84), refused('GPU_EVIDENCE_MALFORMED', /SPDM code/));
});

test('the list of older tools: report in hex, or as it is', { skip }, () => {
  const [{ evidence, certificate, nonce }] = parseGpuEvidence(json(`${SDK}/hopper_evidence.json`)) as [GpuEvidence];
  const bytes = Buffer.from(evidence, 'base64');
  const hexText = Buffer.from(bytes.toString('hex')).toString('base64');
  const today: GpuEvidence = { arch: 'HOPPER', nonce, evidence, certificate };
  for (const written of [evidence, hexText]) {
    const older = { nonce, arch: 'HOPPER', claims_version: '3.0', evidence_list: [{ evidence: written, certificate }] };
    assert.deepEqual(parseGpuEvidence(older), [today]);
    const odd = { ...older, evidence_list: [{ evidence: written, certificate, arch: 'HOPPER' }] };
    assert.deepEqual(parseGpuEvidence(odd), [today]);
  }
  const list = (text: string) => ({ nonce, arch: 'HOPPER', evidence_list: [{ evidence: btoa(text), certificate }] });
  assert.throws(() => parseGpuEvidence(list('11e')), refused('GPU_EVIDENCE_MALFORMED', /half a byte/));
  // Only the older form may have hex.
  const [one] = parseGpuEvidence([{ ...today, evidence: hexText }]) as [GpuEvidence];
  assert.throws(
    () => parseSpdmReport(decodeGpuEvidence(one).report, 'HOPPER'),
    refused('GPU_EVIDENCE_UNSUPPORTED', /^31$/),
  );
  assert.throws(() => parseGpuEvidence({ ...list('11e0'), arch: 'AMPERE' }), refused('GPU_EVIDENCE_UNSUPPORTED'));
});

/** Only a refusal, whatever the input. */
const refusesAtMost = async (work: () => unknown): Promise<void> => {
  try {
    await work();
  } catch (error) {
    assert.ok(error instanceof VerificationError, String(error));
  }
};

test('anything at all instead of evidence, reports and certificates', { skip }, async () => {
  const bytes = report(H100);
  const pem = text(`${SDK}/hopperCertChain.txt`);
  const property = fc.asyncProperty(
    fc.jsonValue(),
    fc.uint8Array({ maxLength: 600 }),
    fc.nat(bytes.length),
    fc.string(),
    async (value, random, at, line) => {
      await refusesAtMost(() => parseGpuEvidence(value));
      await refusesAtMost(() => parseGpuEvidence([value]));
      await refusesAtMost(() => parseGpuEvidence({ nonce: '00'.repeat(32), arch: 'HOPPER', evidence_list: [value] }));
      for (const arch of ['HOPPER', 'BLACKWELL', 'LS10'] as const) {
        await refusesAtMost(() => parseSpdmReport(random, arch));
        const spliced = Buffer.concat([bytes.subarray(0, at), random, bytes.subarray(at + random.length)]);
        await refusesAtMost(() => parseSpdmReport(spliced, arch));
      }
      await refusesAtMost(() => authenticateDeviceChain(line));
      await refusesAtMost(() => authenticateDeviceChain(pem.slice(0, at) + line + pem.slice(at + line.length)));
    },
  );
  await fc.assert(property, runs(30));
});
