/**
 * dstack's VersionedAttestation in MessagePack (version 1), in the field names and byte forms of rmp-serde's `to_vec_named`.
 * Written here by a small encoder: no attestation of version 1 from hardware is public.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseVersionedAttestation } from '../src/dstack/versioned-attestation.ts';
import { MalformedError } from '../src/formats/bytes.ts';
import { parseMsgpack } from '../src/formats/msgpack.ts';
import { VerificationError } from '../src/index.ts';
import { good } from './support/judge.ts';
import { runs } from './support/property.ts';

const head = (
  length: number,
  short: [max: number, byte: number],
  long: [max: number, byte: number, octets: number][],
) => {
  if (length <= short[0]) return Buffer.of(short[1] + length);
  const [, byte, octets] = long.find(([max]) => length <= max)!;
  const bytes = Buffer.alloc(1 + octets, byte);
  bytes.writeUIntBE(length, 1, octets);
  return bytes;
};

/** MessagePack by its specification: numbers, text, byte strings, arrays, objects. */
function encode(value: unknown): Buffer {
  if (value === null) return Buffer.of(0xc0);
  if (typeof value === 'boolean') return Buffer.of(value ? 0xc3 : 0xc2);
  if (typeof value === 'number')
    return head(
      value,
      [0x7f, 0],
      [
        [0xff, 0xcc, 1],
        [0xffff, 0xcd, 2],
        [2 ** 32, 0xce, 4],
      ],
    );
  if (typeof value === 'string') {
    const bytes = Buffer.from(value);
    return Buffer.concat([
      head(
        bytes.length,
        [31, 0xa0],
        [
          [0xff, 0xd9, 1],
          [0xffff, 0xda, 2],
          [2 ** 32, 0xdb, 4],
        ],
      ),
      bytes,
    ]);
  }
  if (value instanceof Uint8Array)
    return Buffer.concat([
      head(
        value.length,
        [-1, 0],
        [
          [0xff, 0xc4, 1],
          [0xffff, 0xc5, 2],
          [2 ** 32, 0xc6, 4],
        ],
      ),
      value,
    ]);
  if (Array.isArray(value))
    return Buffer.concat([
      head(
        value.length,
        [15, 0x90],
        [
          [0xffff, 0xdc, 2],
          [2 ** 32, 0xdd, 4],
        ],
      ),
      ...value.map(encode),
    ]);
  const entries = Object.entries(value as object);
  return Buffer.concat([head(entries.length, [15, 0x80], [[0xffff, 0xde, 2]]), ...entries.flat().map(encode)]);
}

const numbers = (hex: string) => [...Buffer.from(hex, 'hex')];
const stack = { kind: 'dstack', data: { report_data: numbers('00'.repeat(64)), runtime_events: [], config: '{}' } };
const tdx = (bytes: (hex: string) => unknown) => ({
  version: 1,
  platform: {
    kind: 'tdx',
    data: {
      quote: bytes(good.evidence.quote),
      event_log: good.evidence.eventLog.map((event) => ({
        ...event,
        digest: bytes(event.digest),
        event_payload: bytes(event.event_payload),
      })),
    },
  },
  stack,
});

test('version 1 of a TDX guest, with bytes as arrays of numbers, as binary and as hex', () => {
  for (const bytes of [numbers, (hex: string) => Buffer.from(hex, 'hex')]) {
    const attestation = parseVersionedAttestation(encode(tdx(bytes)));
    assert.ok(attestation.teeType === 'intel-tdx');
    assert.equal(Buffer.from(attestation.quote).toString('hex'), good.evidence.quote);
    const plain = attestation.eventLog.map(({ version: _, ...event }) => event);
    assert.deepEqual(
      plain,
      good.evidence.eventLog.map(({ version: _, ...event }) => event),
    );
  }
});

test('version 1 of a SEV-SNP guest', () => {
  const platform = { kind: 'sev-snp', data: { report: numbers('01'), cert_chain: [numbers('02')], mr_config: '{}' } };
  assert.deepEqual(parseVersionedAttestation(encode({ version: 1, platform, stack })), {
    ...{ teeType: 'amd-sev-snp', report: Uint8Array.of(1), certificates: [Uint8Array.of(2)], mrConfig: '{}' },
  });
});

test('other versions, platforms and forms are refused', () => {
  const one = tdx(numbers);
  for (const [name, value] of Object.entries({
    'version 2': { ...one, version: 2 },
    'no version': { platform: one.platform, stack },
    nitro: { ...one, platform: { kind: 'nitro-enclave', data: { nsm_quote: [] } } },
    'numbers above 255': { ...one, platform: { kind: 'tdx', data: { quote: [256], event_log: [] } } },
    'an array': [1, one.platform, stack],
    'no log': { ...one, platform: { kind: 'tdx', data: { quote: [1] } } },
  }))
    assert.throws(
      () => parseVersionedAttestation(encode(value)),
      (error: unknown) => error instanceof VerificationError && error.code === 'EVIDENCE_MALFORMED',
      name,
    );
});

test('MessagePack has one form for one value', () => {
  for (const [name, hex] of Object.entries({
    'number in two bytes': 'cc7f',
    'number in three bytes': 'cd00ff',
    'text in str 8': 'd90161',
    'array in array 16': 'dc000101',
    'map in map 16': 'de0001a16101',
    'key twice': '82a16101a16102',
    'key that is a number': '810101',
    'not UTF-8': 'a1ff',
    'bytes after the end': '0101',
    truncated: 'a261',
    'a count that lies': 'ddffffffff',
    float: 'ca00000000',
    negative: 'ff',
    extension: 'd40000',
    'nested 100 deep': `${'91'.repeat(100)}01`,
  }))
    assert.throws(() => parseMsgpack(Buffer.from(hex, 'hex')), MalformedError, name);
});

test('what is written is read, and random bytes are read or malformed', () => {
  const json = fc.jsonValue({ maxDepth: 4 }).filter((value) => !/[.-]/.test(JSON.stringify(value)));
  const plain = (value: unknown): unknown =>
    value instanceof Map
      ? Object.fromEntries([...value].map(([key, each]) => [key, plain(each)]))
      : Array.isArray(value)
        ? value.map(plain)
        : value;
  fc.assert(
    fc.property(json, (value) =>
      assert.deepEqual(plain(parseMsgpack(encode(value))), JSON.parse(JSON.stringify(value))),
    ),
    runs(),
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        parseMsgpack(bytes);
      } catch (error) {
        assert.ok(error instanceof MalformedError);
      }
    }),
    runs(100),
  );
});
