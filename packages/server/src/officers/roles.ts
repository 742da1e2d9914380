/**
 * Which office may order what. HIPAA names these two (45 CFR 164.308(a)(2), 164.530(a)(1)); an `officer` of the manifest
 * may sign policies, and orders nothing. What is not listed is ordered by nobody.
 */
export const OFFICES = ['security-officer', 'privacy-officer'] as const;

export type Office = (typeof OFFICES)[number];

export const ORDER_OFFICES: Readonly<Record<string, readonly Office[]>> = {
  /** The accounting of disclosures of one patient. */
  account: ['privacy-officer', 'security-officer'],
  /** The whole log, patients as pseudonyms. */
  'audit-export': ['security-officer', 'privacy-officer'],
};
