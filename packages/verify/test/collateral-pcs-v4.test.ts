/**
 * Collateral of Intel's PCS API v4, for whoever keeps it: its dates, read off real sets and compared with what other readers
 * read there, and whether it is genuine for a quote, which no change of any byte may leave so.
 */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { authenticateCollateral, readCollateralDates, type TdxCollateral, VerificationError } from '../src/index.ts';
import { runs, SLOW } from './support/property.ts';
import { dcapCollateral, dcapQuote, nearCollateral, nearQuote, skip } from './support/shared-data.ts';
import { random, seed } from './support/sweep.ts';

/** As `openssl crl` and a JSON reader say it. */
const KNOWN = {
  'near/mpc': {
    collateral: nearCollateral,
    quote: nearQuote,
    issued: '2026-08-12T23:57:43Z', // of the QE identity; TCB info is younger
    expires: '2026-09-11T23:57:11Z', // of the PCK CRL, half a minute before the QE identity
    number: 19,
    sequence: [20, 19, '2026-08-13T10:45:38Z', '2026-08-12T23:57:43Z', '2026-08-12T23:57:11Z', '2026-02-26T13:04:00Z'],
  },
  'dcap-qvl': {
    collateral: dcapCollateral,
    quote: dcapQuote,
    issued: '2025-06-19T10:16:03Z',
    expires: '2025-07-19T10:00:35Z',
    number: 17,
    sequence: [17, 17, '2025-06-19T10:16:03Z', '2025-06-19T10:32:27Z', '2025-06-19T10:00:35Z', '2025-03-20T11:21:57Z'],
  },
};

const code =
  (...codes: string[]) =>
  (error: unknown): true => {
    assert.ok(error instanceof VerificationError, String(error));
    assert.ok(codes.includes(error.code), `${error.code}: ${error.message}`);
    return true;
  };

for (const [name, { collateral, quote, issued, expires, number, sequence }] of Object.entries(KNOWN)) {
  test(`dates of ${name}`, { skip }, () => {
    assert.deepEqual(readCollateralDates(collateral()), {
      issuedMs: Date.parse(issued),
      expiresMs: Date.parse(expires),
      tcbEvaluationDataNumber: number,
      sequence: sequence.map((value) => (typeof value === 'number' ? value : Date.parse(value))),
    });
  });

  test(`${name} is genuine for its quote, whatever the date`, { skip }, () =>
    authenticateCollateral(collateral(), quote()),
  );
}

test('each part counts: the first of four ends is the end', { skip }, () => {
  const near = nearCollateral();
  const old = dcapCollateral();
  const ends = (change: Partial<TdxCollateral>) =>
    new Date(readCollateralDates({ ...near, ...change }).expiresMs).toISOString();
  assert.equal(ends({ tcb_info: old.tcb_info }), '2025-07-19T10:16:03.000Z');
  assert.equal(ends({ qe_identity: old.qe_identity }), '2025-07-19T10:32:27.000Z');
  assert.equal(ends({ pck_crl: old.pck_crl }), '2025-07-19T10:00:35.000Z');
  assert.equal(ends({ root_ca_crl: old.root_ca_crl }), '2026-04-03T11:21:57.000Z');
});

test('what cannot be read has no dates', { skip }, () => {
  const near = nearCollateral();
  const wrong: Partial<TdxCollateral>[] = [
    { tcb_info: '{}' },
    { tcb_info: near.qe_identity },
    { tcb_info: near.tcb_info.replace('2026-09-12T10:45:38Z', '2026-09-31T10:45:38Z') },
    { tcb_info: near.tcb_info.replace('2026-09-12T10:45:38Z', 'tomorrow') },
    { qe_identity: near.tcb_info },
    { qe_identity: `${near.qe_identity} x` },
    { pck_crl: '' },
    { pck_crl: near.pck_crl.slice(0, -2) },
    { root_ca_crl: `${near.root_ca_crl}00` },
  ];
  for (const change of wrong)
    assert.throws(
      () => readCollateralDates({ ...near, ...change }),
      code('COLLATERAL_INVALID'),
      JSON.stringify(change),
    );
});

test('random text never does anything but refuse', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), fc.uint8Array(), (tcb_info, qe_identity, crl) => {
      const hex = Buffer.from(crl).toString('hex');
      const collateral = { tcb_info, qe_identity, pck_crl: hex, root_ca_crl: hex } as TdxCollateral;
      assert.throws(() => readCollateralDates(collateral), code('COLLATERAL_INVALID'));
    }),
    runs(),
  );
});

test("a part of another platform, or another platform's quote, is refused", { skip }, async () => {
  const near = nearCollateral();
  // both are of one family: the parts of the other set are genuine too, and a set may be mixed
  await authenticateCollateral(dcapCollateral(), nearQuote());
  const mixed: [Partial<TdxCollateral>, string][] = [
    [{ tcb_info: dcapCollateral().tcb_info }, 'COLLATERAL_INVALID'],
    [{ tcb_info_signature: dcapCollateral().tcb_info_signature }, 'COLLATERAL_INVALID'],
    [{ qe_identity_signature: near.tcb_info_signature }, 'COLLATERAL_INVALID'],
    [{ qe_identity: near.tcb_info, qe_identity_signature: near.tcb_info_signature }, 'COLLATERAL_INVALID'],
    [{ pck_crl: near.root_ca_crl }, 'CRL_INVALID'],
    [{ root_ca_crl: near.pck_crl }, 'CRL_INVALID'],
    [{ pck_crl_issuer_chain: near.tcb_info_issuer_chain }, 'CERTIFICATE_INVALID'],
    [{ tcb_info_issuer_chain: near.pck_crl_issuer_chain }, 'CERTIFICATE_INVALID'],
    [{ qe_identity_issuer_chain: '' }, 'COLLATERAL_INVALID'],
  ];
  for (const [change, expected] of mixed)
    await assert.rejects(
      authenticateCollateral({ ...near, ...change }, nearQuote()),
      code(expected),
      Object.keys(change).join(),
    );
  await assert.rejects(authenticateCollateral(near, nearQuote().subarray(0, 600)), code('QUOTE_MALFORMED'));
});

test(`no flip of a signed byte leaves it genuine (seed ${seed})`, { skip }, async () => {
  const near = nearCollateral();
  const quote = nearQuote();
  const parts = Object.keys(near) as (keyof TdxCollateral)[];
  let flips = 0;
  for (const part of parts) {
    const text = near[part];
    const isHex = /^[0-9a-f]+$/.test(text);
    const bytes = Buffer.from(text, isHex ? 'hex' : 'latin1');
    const offsets = SLOW ? [...bytes.keys()] : Array.from({ length: 40 }, () => random(bytes.length));
    for (const at of offsets) {
      const flipped = Buffer.from(bytes);
      flipped[at]! ^= 1 << random(8);
      const bent = { ...near, [part]: flipped.toString(isHex ? 'hex' : 'latin1') };
      flips++;
      const accepted = await authenticateCollateral(bent, quote).then(
        () => true,
        (error) => !isRefusal(error),
      );
      // PEM may be written in more than one way, as long as the certificates are the same
      if (accepted) assert.deepEqual(dersOf(bent[part]), dersOf(text), `${part} at ${at}`);
    }
  }
  assert.ok(flips >= 9 * 40);
});

const isRefusal = code('CRL_INVALID', 'COLLATERAL_INVALID', 'CERTIFICATE_INVALID');

function dersOf(pem: string): string[] {
  const found = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  assert.ok(found.length > 0, 'only an issuer chain may be written in another way');
  return found.map((each) => new X509Certificate(each).fingerprint256);
}
