/** TdxEvidence as a whole, on a simulated platform whose every part can be bent before it is signed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { VerifiedGpus } from '../src/gpu/verify-gpu.ts';
import {
  CHECKS,
  type Check,
  type CheckId,
  INTEL_SGX_ROOT_CA_SHA256,
  type Policy,
  summarizeVerdict,
  type TdxEvent,
  type TdxEvidence,
  type Verdict,
  VerifiedCache,
} from '../src/index.ts';
import { requiredOfService } from '../src/required-checks.ts';
import { conclude } from '../src/verdict.ts';
import { type Change, failures, good, judge, pins, signed, statusOf, unsigned } from './support/judge.ts';
import { type Bent, NOW_MS, runtimeEvent, sha256, simulate, toPem } from './support/simulated-platform.ts';

const DAY_MS = 86_400_000;

test('good evidence under a pinned simulated root is valid for synthetic data, and says simulated', async () => {
  const verdict = await judge({ policy: pins });
  assert.deepEqual(failures(verdict.checks), []);
  const { checks, ...rest } = verdict;
  assert.deepEqual(rest, {
    ...{ scope: 'service', valid: true, send: 'synthetic-only', gpus: [], teeType: 'intel-tdx', gpuTeeEnabled: false },
    ...{ compliance: { hipaa: null }, requested: { hipaa: true, baaSigned: true, attestationPublic: true } },
    ...{ trust: 'simulated', trustRootSha256: good.rootSha256 },
    evidenceId: sha256(Buffer.from(good.evidence.quote, 'hex')).toString('hex'),
    codeHash: good.policy.codeHashes[0],
    ...{ tcbStatus: 'UpToDate', advisories: [] },
  });
  assert.deepEqual(
    checks.map(({ id }) => id),
    Object.keys(CHECKS).filter((id) => !id.startsWith('gpu-')),
  );
  assert.deepEqual(
    checks.flatMap(({ id, status, seen }) => (status === 'pass' ? [] : [`${id} ${status}: ${seen}`])),
    ['platform-id not-run: not pinned', 'gpu not-run: not required'],
  );
  assert.deepEqual(summarizeVerdict(verdict), { headline: 'Safe to send SYNTHETIC data only', exitCode: 0 });
});

test('the same evidence without the pin may carry nothing', async () => {
  for (const pin of [null, 'ab'.repeat(32), INTEL_SGX_ROOT_CA_SHA256]) {
    const verdict = await judge({ policy: pins, pin });
    assert.deepEqual(failures(verdict.checks), ['trust-root: ROOT_UNTRUSTED']);
    assert.equal(verdict.trust, 'simulated');
    assert.equal(verdict.send, 'nothing');
    assert.deepEqual(summarizeVerdict(verdict), { headline: 'DO NOT send PHI (simulated)', exitCode: 3 });
  }
});

test('what is not pinned is not required of simulated evidence', async () => {
  const verdict = await judge();
  assert.equal(verdict.send, 'synthetic-only');
  for (const id of ['key-provider', 'manifest', 'access-policy', 'model-registry'])
    assert.deepEqual(
      verdict.checks.find((check) => check.id === id),
      { id, title: CHECKS[id as CheckId], status: 'not-run', seen: 'not pinned' },
    );
});

const GPU = { count: null, architectures: [], driverVersions: null, vbiosVersions: null } as const;
const rootOf = { 'intel-tdx': INTEL_SGX_ROOT_CA_SHA256, simulated: '00'.repeat(32), none: null } as const;

/** What is concluded from these checks. */
function concluded(
  checks: Check[],
  trust: keyof typeof rootOf,
  gpu: Policy['gpu'],
  scope: Verdict['scope'] = 'service',
  gpus: VerifiedGpus | null = null,
) {
  const guest = { teeType: 'intel-tdx', rootSha256: rootOf[trust], level: null, codeHash: null } as const;
  const { valid, send } = conclude(scope, checks, guest, gpus, (label) =>
    scope === 'service' ? requiredOfService({ platformIds: null, gpu }, 'intel-tdx', label) : ['quote-signature'],
  );
  return { valid, send };
}

test('PHI needs the hardware root and every check', () => {
  const all = (Object.keys(CHECKS) as CheckId[]).map((id): Check => ({ id, title: CHECKS[id], status: 'pass' }));
  const without = (id: CheckId, status: Check['status']) =>
    all.map((check) => (check.id === id ? { ...check, status } : check));
  const required = { ...GPU, architectures: ['HOPPER' as const], ocsp: 'required' as const };
  assert.deepEqual(concluded(all, 'intel-tdx', required), { valid: true, send: 'phi' });
  assert.deepEqual(concluded(all, 'simulated', required), { valid: true, send: 'synthetic-only' });
  assert.deepEqual(concluded(all, 'intel-tdx', required, 'evidence-only'), { valid: true, send: 'nothing' });
  assert.equal(concluded(all, 'none', required).send, 'nothing');
  const nothing = { valid: false, send: 'nothing' };
  const simulatedGpu = { shown: { list: [], devices: [] }, simulated: true };
  assert.equal(concluded(all, 'intel-tdx', required, 'service', simulatedGpu).send, 'synthetic-only');
  for (const { id } of all) {
    const optional = id === 'platform-id' ? { valid: true, send: 'phi' } : nothing;
    const skipped = id.startsWith('gpu') ? { valid: true, send: 'phi' } : optional;
    assert.deepEqual(concluded(without(id, 'not-run'), 'intel-tdx', null), skipped, id);
    assert.deepEqual(concluded(without(id, 'not-run'), 'intel-tdx', required), optional, id);
    const lost = all.filter((check) => check.id !== id); // a step that was never begun
    assert.deepEqual(concluded(lost, 'intel-tdx', required), optional, id);
    const cached = id === 'gpu-revocation' ? { valid: true, send: 'phi' } : optional;
    assert.deepEqual(concluded(without(id, 'not-run'), 'intel-tdx', { ...required, ocsp: 'optional' }), cached, id);
    for (const [trust, scope] of [['intel-tdx'], ['simulated'], ['intel-tdx', 'evidence-only']] as const)
      assert.deepEqual(concluded(without(id, 'fail'), trust, null, scope), nothing, id);
  }
  const unsigned = all.map((check): Check => ({ ...check, status: check.id === 'event-log' ? 'pass' : 'not-run' }));
  assert.deepEqual(concluded(unsigned, 'none', null, 'evidence-only'), nothing); // nobody has signed anything
});

test('the headline and the exit code', () => {
  const summary = (scope: Verdict['scope'], valid: boolean, send: Verdict['send'], trust: Verdict['trust']) =>
    Object.values(summarizeVerdict({ scope, valid, send, trust, checks: [] }));
  assert.deepEqual(summary('service', true, 'phi', 'intel-tdx'), ['Safe to send PHI', 0]);
  assert.deepEqual(summary('service', true, 'synthetic-only', 'simulated'), ['Safe to send SYNTHETIC data only', 0]);
  assert.deepEqual(summary('service', false, 'nothing', 'intel-tdx'), ['DO NOT send PHI', 3]);
  assert.deepEqual(summary('service', false, 'nothing', 'simulated'), ['DO NOT send PHI (simulated)', 3]);
  for (const valid of [true, false]) {
    const [headline, exitCode] = summary('evidence-only', valid, 'nothing', 'intel-tdx');
    assert.equal(exitCode, valid ? 0 : 3);
    assert.doesNotMatch(`${headline}`, /safe/i);
  }
});

const allowed = sha256('the code that is allowed');
const signedLog = (change: (log: TdxEvent[]) => void): Change => ({ bend: ({ eventLog }) => change(eventLog) });
const version5 = (bodyType: 2 | 3): Change => ({
  bend: ({ td }) => Object.assign(td, { header: td.header.replace(/^04/, '05'), bodyType }),
});
const variants: [name: string, change: Change][] = [
  ['quote version 5 with the report of TDX 1.0', version5(2)],
  ['quote version 5 with the report of TDX 1.5', version5(3)],
  ['a listed machine', { policy: { platformIds: ['ff'.repeat(16), '07'.repeat(16)] } }],
  [
    "identity events after system-ready, which are the application's own",
    signedLog((log) => log.push(runtimeEvent('compose-hash', allowed), runtimeEvent('system-ready', ''))),
  ],
  [
    'a log of the runtime events alone, for the list identifies the OS',
    {
      tamper: (each) => {
        each.eventLog = each.eventLog.filter(({ imr }) => imr === 3);
      },
    },
  ],
  [
    'runtime events of version 2',
    signedLog((log) =>
      log.splice(
        3,
        log.length,
        ...log.slice(3).map(({ event, event_payload }) => runtimeEvent(event, Buffer.from(event_payload, 'hex'), 2)),
      ),
    ),
  ],
  ['no MRCONFIGID', signed('td.mrConfigId', '00'.repeat(48))],
  [
    'MRCONFIGID of form 3, whose document nobody shows',
    signed('td.mrConfigId', `03${'ab'.repeat(32)}`.padEnd(96, '0')),
  ],
  ['collateral of yesterday, where two days are allowed', { policy: { maxCollateralAgeDays: 2 } }],
];
for (const [name, change] of variants)
  test(`accepted: ${name}`, async () => {
    const verdict = await judge({ ...change, policy: { ...pins, ...change.policy } });
    assert.deepEqual([failures(verdict.checks), verdict.send], [[], 'synthetic-only']);
  });

test('a dated grace admits an old platform, and says so', async () => {
  const tcbGrace = [{ status: 'OutOfDate' as const, until: '2030-07-01T00:00:00Z', advisories: ['INTEL-SA-00001'] }];
  const verdict = await judge({ ...signed('pck.componentSvns.15', 1), policy: { tcbGrace } });
  assert.deepEqual([verdict.send, verdict.tcbStatus], ['synthetic-only', 'OutOfDate']);
  const { seen } = verdict.checks.find(({ id }) => id === 'tcb-status')!;
  assert.equal(seen, 'OutOfDate, accepted until 2030-07-01T00:00:00Z');
});

const event = (platform: Bent, name: string) => platform.eventLog.findIndex((each) => each.event === name);
const bendLog: [name: string, bend: (platform: Bent) => void][] = [
  ['compose-hash twice', (p) => p.eventLog.splice(event(p, 'boot-mr-done'), 0, runtimeEvent('compose-hash', allowed))],
  ['compose-hash only after system-ready', (p) => p.eventLog.push(...p.eventLog.splice(event(p, 'compose-hash'), 1))],
  ['no compose-hash', (p) => p.eventLog.splice(event(p, 'compose-hash'), 1)],
  ['no system-ready', (p) => p.eventLog.splice(event(p, 'system-ready'), 1)],
  ['app-id twice', (p) => p.eventLog.splice(event(p, 'boot-mr-done'), 0, runtimeEvent('app-id', allowed.subarray(12)))],
  ['app-id of another length', (p) => p.eventLog.splice(event(p, 'app-id'), 1, runtimeEvent('app-id', allowed))],
  [
    'key-provider that is no JSON',
    (p) => p.eventLog.splice(event(p, 'key-provider'), 1, runtimeEvent('key-provider', 'kms')),
  ],
  [
    'os-image-hash twice',
    (p) => p.eventLog.unshift(runtimeEvent('os-image-hash', 'x'), runtimeEvent('os-image-hash', 'x')),
  ],
  [
    'the measured compose-hash hidden behind a firmware event, another one in its place',
    (p) => {
      const at = event(p, 'compose-hash');
      p.eventLog.splice(
        at,
        1,
        { ...p.eventLog[at]!, event_type: 4, event: '', event_payload: '' },
        runtimeEvent('compose-hash', allowed),
      );
    },
  ],
  [
    'the measured compose-hash hidden in the name of an event',
    (p) => {
      // The preimage "compose-hash:" ‖ digest can be cut after any colon in the digest.
      const measured = Buffer.concat([Buffer.from('A:'), Buffer.alloc(30, 65)]);
      const hidden = {
        ...runtimeEvent('compose-hash', measured),
        event: 'compose-hash:A',
        event_payload: '41'.repeat(30),
      };
      p.eventLog.splice(event(p, 'compose-hash'), 1, hidden, runtimeEvent('compose-hash', allowed));
    },
  ],
];
for (const [name, bend] of bendLog)
  test(`refused with EVENT_LOG_MISMATCH: ${name}`, async () => {
    const verdict = await judge({ bend });
    assert.deepEqual(failures(verdict.checks), ['event-log: EVENT_LOG_MISMATCH']);
    assert.equal(verdict.codeHash, null);
  });

test('refused with EVENT_LOG_MISMATCH: a payload exchanged under the genuine digest, a digest exchanged, an event gone', async () => {
  const tampers = [
    unsigned('eventLog.5.event_payload', allowed.toString('hex')),
    unsigned('eventLog.5.digest', '00'.repeat(48)),
    unsigned('eventLog.1.digest', '00'.repeat(48)),
    unsigned('eventLog.5.imr', 2),
    unsigned('eventLog.5.event_type', 4),
    unsigned<object[]>('eventLog', (old) => old.map((each) => ({ ...each, version: 2 }))),
    unsigned<object[]>('eventLog', (old) => old.slice(1)),
    unsigned<object[]>('eventLog', (old) => old.toReversed()),
    unsigned('eventLog', []),
  ];
  for (const change of tampers)
    assert.deepEqual(failures((await judge(change)).checks), ['event-log: EVENT_LOG_MISMATCH']);
});

test('version 2 events and stripped digests are the same log', async () => {
  const verdict = await judge({
    bend: ({ eventLog }) => {
      for (const [i, { imr, event: name, event_payload }] of eventLog.entries())
        if (imr === 3) eventLog[i] = runtimeEvent(name, Buffer.from(event_payload, 'hex'), 2);
    },
    tamper: ({ eventLog }) => {
      for (const each of eventLog) if (each.imr === 3) each.digest = '';
    },
  });
  assert.equal(verdict.send, 'synthetic-only');
});

test('a log that dstack has stripped to the runtime events is replayed into RTMR3 all the same', async () => {
  const strip = (evidence: TdxEvidence) => {
    evidence.eventLog = evidence.eventLog.filter(({ imr }) => imr === 3);
  };
  assert.equal((await judge({ tamper: strip })).send, 'synthetic-only');
  for (const name of ['compose-hash', 'an-app-event']) {
    const verdict = await judge({
      tamper(evidence) {
        strip(evidence);
        const event = evidence.eventLog.find((each) => each.event === name)!;
        Object.assign(event, {
          event_payload: event.event_payload.replace(/.$/, (digit) => (digit === '0' ? '1' : '0')),
        });
        event.digest = '';
      },
    });
    assert.deepEqual(failures(verdict.checks), ['event-log: EVENT_LOG_MISMATCH'], name);
  }
});

test('each member of the preimage is bound', async () => {
  const members = Object.keys(good.evidence.reportData) as (keyof TdxEvidence['reportData'])[];
  assert.equal(members.length, 10);
  for (const member of members) {
    const verdict = await judge({
      tamper: ({ reportData }) => {
        const other = { auditLogVkeys: [], checkpoint: 'other', hpkePublicKey: 'other' } as Record<string, unknown>;
        Object.assign(reportData, { [member]: other[member] ?? '99'.repeat(32) });
      },
    });
    assert.deepEqual(failures(verdict.checks), ['report-data: REPORT_DATA_MISMATCH'], member);
  }
});

test('without a channel nothing may be sent', async () => {
  const verdict = await judge({ expect: { tlsSpkiSha256: null } });
  assert.deepEqual(failures(verdict.checks), []);
  assert.equal(verdict.checks.find(({ id }) => id === 'channel')?.seen, 'not bound');
  assert.deepEqual([verdict.valid, verdict.send], [false, 'nothing']);
});

test('a channel ends in the TLS key, in this very connection, or in the HPKE key', async () => {
  const exporter = '33'.repeat(32);
  const cases: [Change, string][] = [
    [{}, 'TLS key 2222'],
    [{ expect: { tlsExporterSha256: exporter } }, 'TLS key 2222'], // evidence of a server that has none
    [signed('reportData.tlsExporterSha256', exporter), 'TLS key 2222'], // a client that has none
    [
      { ...signed('reportData.tlsExporterSha256', exporter), expect: { tlsExporterSha256: exporter } },
      'this very connection',
    ],
    [{ ...signed('reportData.hpkePublicKey', 'AAAA'), expect: { tlsSpkiSha256: null, sealed: true } }, 'HPKE key'],
  ];
  for (const [change, seen] of cases) {
    const verdict = await judge(change);
    assert.equal(verdict.send, 'synthetic-only');
    assert.ok(verdict.checks.find(({ id }) => id === 'channel')?.seen?.includes(seen), seen);
  }
});

test('a policy that lists nothing lets nothing pass', async () => {
  for (const [id, list] of [
    ['code-hash', 'codeHashes'],
    ['os-measurement', 'osMeasurements'],
  ]) {
    const verdict = await judge({ policy: { [list!]: [] } });
    assert.deepEqual([failures(verdict.checks), verdict.valid, verdict.send], [[], false, 'nothing']);
    assert.equal(verdict.checks.find((check) => check.id === id)?.seen, 'none is listed');
  }
  const { checks } = await judge({ policy: { tcbStatuses: [] } });
  assert.deepEqual(failures(checks), ['tcb-status: TCB_STATUS_REFUSED']);
});

test('the floor of the policy itself is high enough', async () => {
  assert.equal((await judge({ policy: { minTcbEvaluationDataNumber: 20 } })).send, 'synthetic-only');
});

test('out of date here and unconfigured there: both are said', async () => {
  const verdict = await judge({
    bend: ({ td, tcbInfo }) => {
      td.teeTcbSvn = td.teeTcbSvn.replace('0b', '0a');
      tcbInfo.tcbLevels[0]!.tcbStatus = 'ConfigurationAndSWHardeningNeeded';
    },
  });
  assert.equal(verdict.tcbStatus, 'OutOfDateConfigurationNeeded');
  assert.deepEqual(failures(verdict.checks), ['tcb-status: TCB_OUT_OF_DATE']);
});

test('unconfigured here and unhardened there: both are said', async () => {
  const verdict = await judge({
    bend: ({ tcbInfo }) => {
      tcbInfo.tdxModuleIdentities[0]!.tcbLevels[0]!.tcbStatus = 'SWHardeningNeeded';
      tcbInfo.tcbLevels[0]!.tcbStatus = 'ConfigurationNeeded';
    },
    policy: { tcbStatuses: ['UpToDate', 'ConfigurationNeeded'] },
  });
  assert.equal(verdict.tcbStatus, 'ConfigurationAndSWHardeningNeeded');
  assert.deepEqual(failures(verdict.checks), ['tcb-status: TCB_STATUS_REFUSED']);
});

test('a policy may allow what is out of date, and its advisories', async () => {
  const bend = ({ td, pck }: Bent) => {
    td.teeTcbSvn = td.teeTcbSvn.replace('0b', '0a');
    pck.componentSvns[0] = 1;
  };
  const policy = { tcbStatuses: ['UpToDate', 'OutOfDate'], advisories: ['INTEL-SA-00001', 'INTEL-SA-00002'] };
  const verdict = await judge({ bend, policy });
  assert.deepEqual([verdict.send, verdict.tcbStatus], ['synthetic-only', 'OutOfDate']);
  assert.deepEqual(verdict.advisories, policy.advisories);
  const stricter = await judge({ bend, policy: { ...policy, advisories: ['INTEL-SA-00001'] } });
  assert.deepEqual(failures(stricter.checks), ['tcb-status: ADVISORY_REFUSED']);
});

test('several failures are told apart in one verdict', async () => {
  const { checks } = await judge({
    bend: ({ crls, pck, td }) => {
      crls.pck.revoked.push(3);
      pck.componentSvns[0] = 1;
      td.tdAttributes = '0100001000000000';
    },
    policy: { codeHashes: [`sha256:${'00'.repeat(32)}`] },
    expect: { nonce: '12'.repeat(32) },
  });
  assert.deepEqual(failures(checks), [
    'revocation-lists: CERTIFICATE_REVOKED',
    'tcb-status: TCB_OUT_OF_DATE',
    'td-attributes: TD_DEBUG',
    'code-hash: CODE_HASH_MISMATCH',
    'nonce: NONCE_MISMATCH',
  ]);
});

test('collateral of another root does not count', async () => {
  const other = simulate(({ certificates }) => {
    certificates.root.serial = 99;
  });
  const verdict = await judge({
    tamper: (evidence) => {
      evidence.collateral = other.evidence.collateral;
    },
  });
  assert.deepEqual(failures(verdict.checks), ['revocation-lists: CRL_INVALID', 'collateral: COLLATERAL_INVALID']);
});

test('a PCK key cannot sign collateral: its chain has another length', async () => {
  const { pck, pckCa, root } = good.certificates;
  for (const chain of [toPem(pck, root), toPem(pck, pckCa, root), toPem(root), toPem(pckCa, root)]) {
    const { checks } = await judge({
      tamper: ({ collateral }) => {
        collateral!.tcb_info_issuer_chain = chain;
      },
    });
    assert.equal(statusOf(checks).collateral, 'fail');
  }
});

test('the cache keeps signatures and never dates, and nothing that failed', async () => {
  const cache = new VerifiedCache();
  const first = await judge({ cache });
  assert.deepEqual(await judge({ cache }), first);
  const later = await judge({ cache, nowMs: NOW_MS + 40 * DAY_MS });
  assert.deepEqual(failures(later.checks), ['revocation-lists: CRL_EXPIRED', 'collateral: COLLATERAL_EXPIRED']);
  const tamper = ({ collateral }: TdxEvidence) => {
    collateral!.tcb_info = collateral!.tcb_info.replace('UpToDate', 'UpToDatf');
  };
  for (let round = 0; round < 2; round++)
    assert.deepEqual(failures((await judge({ cache, tamper })).checks), ['collateral: COLLATERAL_INVALID']);
  assert.deepEqual(await judge({ cache }), first);
});

test('the cache stays small', async () => {
  const cache = new VerifiedCache();
  for (let i = 0; i < 100; i++) assert.equal(await cache.once('number', [`${i}`], async () => i), i);
  assert.equal(cache.size, 64);
  assert.equal(await cache.once('number', ['99'], async () => 0), 99);
  await assert.rejects(cache.once('number', ['failed'], () => Promise.reject(new Error('no'))));
  assert.equal(await cache.once('number', ['failed'], async () => 1), 1);
});

test('the CA of the CRL may be renewed: same name, same key, in date, not revoked', async () => {
  const crlsOf = (bend: (platform: Bent) => void) => {
    const { root_ca_crl, pck_crl, pck_crl_issuer_chain } = simulate(bend).evidence.collateral!;
    return judge({
      tamper: ({ collateral }) => {
        Object.assign(collateral!, { root_ca_crl, pck_crl, pck_crl_issuer_chain });
      },
    });
  };
  const renewed = ({ certificates }: Bent) => {
    certificates.pckCa.serial = 22;
  };
  assert.equal((await crlsOf(renewed)).send, 'synthetic-only');
  const twins: [code: string, bend: (platform: Bent) => void][] = [
    [
      'CRL_INVALID',
      ({ certificates, crls }) =>
        Object.assign(certificates.pckCa, { subject: 'x' }) && Object.assign(crls.pck, { issuer: 'x' }),
    ],
    [
      'CERTIFICATE_INVALID',
      ({ certificates }) => Object.assign(certificates.pckCa, { serial: 22, notAfterMs: NOW_MS - 1000 }),
    ],
    [
      'CERTIFICATE_REVOKED',
      ({ certificates, crls }) => Object.assign(certificates.pckCa, { serial: 22 }) && crls.root.revoked.push(22),
    ],
  ];
  for (const [code, bend] of twins)
    assert.deepEqual(failures((await crlsOf(bend)).checks), [`revocation-lists: ${code}`]);
});

test('a clock that is not a number is a programming error, and never a pass', async () => {
  await assert.rejects(judge({ nowMs: Number.NaN }), RangeError);
});
