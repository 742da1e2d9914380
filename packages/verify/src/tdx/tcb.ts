/**
 * Trusted computing base levels (Intel PCS API v4, "TCB Info" and "Enclave Identity", and the algorithms given there):
 * how old are the platform, the TDX module and the quoting enclave, and what does Intel say about that age.
 */
import { refuse } from '../errors.ts';
import { parseUtcTime } from '../formats/der.ts';
import type { Policy } from '../policy.ts';
import type { PckPlatform } from './pck-extension.ts';
import type { TcbInfo } from './tcb-info.ts';
import { TCB_STATUSES, type TcbStatus } from './tcb-status.ts';

export interface TcbLevel {
  status: TcbStatus;
  advisories: string[];
}

/** The newest level that the platform reaches in every component. Throws TCB_UNKNOWN below all of them. */
export function platformLevel(info: TcbInfo, pck: PckPlatform, teeTcbSvn: Uint8Array): TcbLevel {
  // From version 1 of the TDX module on, its own identity says how old it is, not the first two components.
  const firstTdx = teeTcbSvn[1]! > 0 ? 2 : 0;
  const level = info.tcbLevels.find(
    ({ tcb }) =>
      tcb.sgxtcbcomponents.every(({ svn }, i) => pck.componentSvns[i]! >= svn) &&
      pck.pceSvn >= tcb.pcesvn &&
      tcb.tdxtcbcomponents.every(({ svn }, i) => i < firstTdx || teeTcbSvn[i]! >= svn),
  );
  if (!level) return refuse('TCB_UNKNOWN', 'a platform at a TCB level that Intel lists', 'one below every level');
  return { status: level.tcbStatus, advisories: level.advisoryIDs };
}

/** The newest level of an enclave or module that its security version reaches. Throws TCB_UNKNOWN. */
export function softwareLevel(
  what: string,
  levels: readonly { tcb: { isvsvn: number }; tcbStatus: TcbStatus; advisoryIDs: string[] }[],
  isvSvn: number,
): TcbLevel {
  const level = levels.find(({ tcb }) => isvSvn >= tcb.isvsvn);
  if (!level) return refuse('TCB_UNKNOWN', `a ${what} at a TCB level that Intel lists`, `security version ${isvSvn}`);
  return { status: level.tcbStatus, advisories: level.advisoryIDs };
}

/** The worst of them; what is wrong here and what is wrong there are both said. Advisories are joined. */
export function combineLevels(...levels: readonly TcbLevel[]): TcbLevel {
  return {
    status: levels.map(({ status }) => status).reduce(worseOf),
    advisories: [...new Set(levels.flatMap(({ advisories }) => advisories))].sort(),
  };
}

function worseOf(a: TcbStatus, b: TcbStatus): TcbStatus {
  const [better, worse] = TCB_STATUSES.indexOf(a) < TCB_STATUSES.indexOf(b) ? [a, b] : [b, a];
  if (worse === 'OutOfDate' && better.startsWith('Configuration')) return 'OutOfDateConfigurationNeeded';
  const both = worse === 'ConfigurationNeeded' && better === 'SWHardeningNeeded';
  return both ? 'ConfigurationAndSWHardeningNeeded' : worse;
}

/**
 * Returns the status. Throws TCB_REVOKED, TCB_OUT_OF_DATE, TCB_STATUS_REFUSED, ADVISORY_REFUSED, or
 * TCB_EVALUATION_TOO_OLD when either document is older than the policy's floor: whoever attaches collateral could
 * otherwise keep back, for the 30 days of its validity, that Intel has found a weakness.
 */
export function verifyTcbLevel(
  { status, advisories }: TcbLevel,
  documents: readonly { tcbEvaluationDataNumber: number }[],
  policy: Policy,
  nowMs: number,
): string {
  if (status === 'Revoked') refuse('TCB_REVOKED', policy.tcbStatuses.join(' or ') || 'no status', status);
  const grace = policy.tcbGrace.find((each) => each.status === status && nowMs <= parseUtcTime(each.until));
  if (!grace && !policy.tcbStatuses.includes(status))
    refuse(
      status.startsWith('OutOfDate') ? 'TCB_OUT_OF_DATE' : 'TCB_STATUS_REFUSED',
      policy.tcbStatuses.join(' or ') || 'no status',
      [status, ...advisories].join(', '),
    );
  const evaluation = Math.min(...documents.map(({ tcbEvaluationDataNumber }) => tcbEvaluationDataNumber));
  if (evaluation < policy.minTcbEvaluationDataNumber)
    refuse('TCB_EVALUATION_TOO_OLD', `TCB evaluation ${policy.minTcbEvaluationDataNumber} or later`, `${evaluation}`);
  const allowed = [...policy.advisories, ...(grace?.advisories ?? [])];
  const refused = advisories.filter((advisory) => !allowed.includes(advisory));
  if (refused.length > 0) refuse('ADVISORY_REFUSED', allowed.join(', ') || 'no advisory', refused.join(', '));
  return grace ? `${status}, accepted until ${grace.until}` : status;
}
