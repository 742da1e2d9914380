/** What the host may do with the guest: its policy and privilege level (56860, "Guest Policy", 64 bits). */
import { refuse } from '../errors.ts';
import type { SnpReport } from './snp-report.ts';

const bit = (position: number): bigint => 1n << BigInt(position);
const SMT = bit(16); // the sibling thread may run: common, and a matter of side channels, not of access
const RESERVED_ONE = bit(17);
const MIGRATE_MA = bit(18); // a migration agent may move the guest to another machine
const DEBUG = bit(19);
const SINGLE_SOCKET = bit(20);
const CXL_ALLOW = bit(21); // memory on CXL devices
const RESERVED = ~(bit(26) - 1n); // bits 63 to 26

/** Throws TD_DEBUG or TD_ATTRIBUTES_REFUSED. Returns the policy, and what of it only narrows or is the host's choice. */
export function verifySnpPolicy({ policy, vmpl }: SnpReport): string {
  const written = `policy ${policy.toString(16).padStart(16, '0')}`;
  if (policy & DEBUG) refuse('TD_DEBUG', 'a policy without DEBUG', written);
  if (policy & MIGRATE_MA) refuse('TD_ATTRIBUTES_REFUSED', 'a policy without MIGRATE_MA', written);
  if (!(policy & RESERVED_ONE) || policy & RESERVED)
    refuse('TD_ATTRIBUTES_REFUSED', 'a policy with bit 17 and without bits 26 to 63', written);
  if (policy & CXL_ALLOW) refuse('TD_ATTRIBUTES_REFUSED', 'a policy without CXL_ALLOW', written);
  // Level 0 is the most privileged: what runs below it could be changed by what runs at it, and is not what was measured.
  if (vmpl !== 0) refuse('TD_ATTRIBUTES_REFUSED', 'a report from VMPL 0', `VMPL ${vmpl}`);
  const choices = [policy & SMT ? 'SMT' : '', policy & SINGLE_SOCKET ? 'single socket' : ''].filter(Boolean);
  return [written, ...choices].join(', ');
}
