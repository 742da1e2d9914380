/** What can be wrong with a platform, for tests of those who verify it. One row each; `null` elsewhere is "no fault". */

export interface Conditions {
  /** Which program the firmware measured, and which one the agent shows. 'other' is a program that nobody allowed. */
  measured: 'given' | 'other';
  shown: 'given' | 'other';
  debug: boolean;
  kernelCommandLine: string;
  /** Of the TCB level that the platform reaches. */
  tcbStatus: 'UpToDate' | 'OutOfDate' | 'Revoked';
  pckRevoked: boolean;
  collateralExpired: boolean;
  crlExpired: boolean;
  /** 'other': a second simulated platform, complete with its own collateral. */
  root: 'install' | 'other';
  agentDown: boolean;
}

export const NO_FAULT: Conditions = {
  measured: 'given',
  shown: 'given',
  debug: false,
  kernelCommandLine: 'console=ttyS0 ro',
  tcbStatus: 'UpToDate',
  pckRevoked: false,
  collateralExpired: false,
  crlExpired: false,
  root: 'install',
  agentDown: false,
};

export const FAULTS = {
  /** After a TCB recovery the platform reaches only a level that is revoked. */
  'tcb-revoked': { tcbStatus: 'Revoked' },
  /** After a TCB recovery the platform reaches only a level that is out of date. */
  'out-of-date': { tcbStatus: 'OutOfDate' },
  /** The PCK certificate stands in a valid revocation list. */
  'pck-revoked': { pckRevoked: true },
  /** The TD attributes have the DEBUG bit, genuinely signed. */
  debug: { debug: true },
  /** Another program was measured, and is shown: only the code hash differs. */
  'wrong-compose': { measured: 'other', shown: 'other' },
  /** The right program on an OS image that nobody listed; the log replays. */
  'unlisted-rtmr2': { kernelCommandLine: 'console=ttyS0 rw init=/bin/sh' },
  /**
   * Another program was measured, the allowed one is shown: app_compose, MRCONFIGID (which the host sets) and the
   * payload of the compose-hash event are those of the allowed one. Only recomputing the digest from the payload tells.
   */
  'forged-log': { measured: 'other' },
  /** TCB info and QE identity are past their nextUpdate; the revocation lists are not. */
  'expired-collateral': { collateralExpired: true },
  /** Both revocation lists are past their nextUpdate; TCB info and QE identity are not. */
  'crl-expired': { crlExpired: true },
  /** All is well, under a root that nobody pinned. */
  'wrong-root': { root: 'other' },
  /** The agent socket answers 503. */
  'agent-down': { agentDown: true },
} as const satisfies Record<string, Partial<Conditions>>;

export type FaultName = keyof typeof FAULTS;

/** The name itself, or a TypeError that lists the names. */
export function parseFault(name: unknown): FaultName | null {
  if (name === null || (typeof name === 'string' && Object.hasOwn(FAULTS, name))) return name as FaultName | null;
  throw new TypeError(`fault must be null or one of ${Object.keys(FAULTS).join(', ')}`);
}

export const conditionsOf = (fault: FaultName | null): Conditions => ({
  ...NO_FAULT,
  ...(fault === null ? {} : FAULTS[fault]),
});
