/** What the visitor demands: a policy and, for tests, the root of a software TEE. Kept nowhere. */
import { ConfigurationError, type Policy, parsePolicy, parsePolicyText } from '@abaton/verify';

export interface Demands {
  policy: Policy;
  /** False: no policy was given, and this one pins nothing. */
  pinned: boolean;
  acceptedRootsSha256: string[];
}

/** Throws ConfigurationError: POLICY_INVALID, or USAGE for a root that is none. */
export function readDemands(policyText: string, rootText: string): Demands {
  const pinned = policyText.trim() !== '';
  const root = rootText
    .trim()
    .toLowerCase()
    .replace(/^sha256:/, '');
  if (root !== '' && !/^[0-9a-f]{64}$/.test(root))
    throw new ConfigurationError('USAGE', 'The root must be 64 hex digits, the SHA-256 of its certificate.');
  return {
    policy: pinned ? parsePolicyText(policyText) : parsePolicy({ version: 1 }),
    pinned,
    acceptedRootsSha256: root === '' ? [] : [root],
  };
}
