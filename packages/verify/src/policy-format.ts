/** Reads a policy file. */

import { ConfigurationError } from './errors.ts';
import { MalformedError } from './formats/bytes.ts';
import { boolean, hexOfAnyCase, integer, list, nullable, object, oneOf, optional, text } from './formats/schema.ts';
import type { OsMeasurement, Policy } from './policy.ts';
import { TCB_STATUSES, type TcbStatus } from './tdx/tcb.ts';

const ENTRIES = 1000; // a list that a person keeps
const digests = optional(nullable(list(hexOfAnyCase(32), ENTRIES)), null);

const osMeasurement = object<OsMeasurement>({
  name: text(200),
  mrtd: hexOfAnyCase(48),
  rtmr0: hexOfAnyCase(48),
  rtmr1: hexOfAnyCase(48),
  rtmr2: hexOfAnyCase(48),
});

/** No policy may allow what Intel has revoked. */
const ALLOWABLE = TCB_STATUSES.filter((status): status is Exclude<TcbStatus, 'Revoked'> => status !== 'Revoked');

const policy = object<Policy>({
  version: oneOf(1),
  codeHashes: optional(list(text(71, /^sha256:[0-9a-f]{64}$/, 'sha256: and 64 lower-case hex digits'), ENTRIES), []),
  osMeasurements: optional(list(osMeasurement, ENTRIES), []),
  manifestSha256: digests,
  policySha256: digests,
  modelRegistrySha256: digests,
  tcbStatuses: optional(list(oneOf(...ALLOWABLE), ALLOWABLE.length), ['UpToDate']),
  advisories: optional(list(text(40, /^INTEL-SA-\d{5}$/, 'an advisory such as INTEL-SA-01192'), ENTRIES), []),
  minTcbEvaluationDataNumber: optional(integer(0, 2 ** 31), 0),
  gpuRequired: optional(boolean, false),
});

/** Members that are absent take the strictest value: nothing allowed, nothing pinned. Throws POLICY_INVALID, naming the member. */
export function parsePolicy(json: unknown): Policy {
  try {
    return policy(json, 'policy');
  } catch (error) {
    if (error instanceof MalformedError) throw new ConfigurationError('POLICY_INVALID', `${error.message}.`);
    throw error;
  }
}
