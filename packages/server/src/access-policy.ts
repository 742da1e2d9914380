/** Who may do what, and where plaintext may go (I9). Until users, roles and destinations exist it is built in, and bound in the evidence. */
import { createHash } from 'node:crypto';
import { canonicalize } from '@abaton/verify';

const BUILT_IN = { version: 1, access: 'everyone-at-the-door', data: 'synthetic-only', destinations: [] };

/** SHA-256 of its canonical JSON, hex: `policySha256` of the evidence. */
export const ACCESS_POLICY_SHA256: string = createHash('sha256').update(canonicalize(BUILT_IN)).digest('hex');
