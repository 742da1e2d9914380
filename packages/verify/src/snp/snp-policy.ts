/**
 * What the host may do with the guest: the guest's policy and privilege level (56860, "Guest Policy" and
 * "PLATFORM_INFO", 64 bits each). Refused is what gives access to the guest's memory. What opens or closes side channels
 * (SMT, RAPL, ciphertext hiding) or narrows where it runs is written down for people to read: no setting of these is
 * right on every machine.
 */
import { refuse } from '../errors.ts';
import type { Policy } from '../policy.ts';
import type { SnpReport } from './snp-report.ts';

const bit = (position: number): bigint => 1n << BigInt(position);
const RESERVED_ONE = bit(17);
const MIGRATE_MA = bit(18); // a migration agent may move the guest to another machine
const DEBUG = bit(19);
const CXL_ALLOW = bit(21); // memory may be on devices outside the chip that signs
const RESERVED = ~(bit(26) - 1n); // bits 63 to 26; bits 7:0 and 15:8 are the lowest ABI version

/** By position. */
const CHOICES = new Map([
  [16, 'SMT allowed'],
  [20, 'single socket'],
  [22, 'AES-256-XTS'],
  [23, 'RAPL off'],
  [24, 'ciphertext hiding'],
  [25, 'no page swap'],
]);
const ALIAS_CHECK_COMPLETE = 5;
/** Firmware has been seen to set bits before they were documented: others are not refused. */
const PLATFORM = new Map([
  [0, 'SMT'],
  [1, 'TSME'],
  [2, 'ECC'],
  [3, 'RAPL off'],
  [4, 'ciphertext hiding'],
  [ALIAS_CHECK_COMPLETE, 'no memory alias'],
  [6, 'IOMMU write safe'],
  [7, 'TIO'],
]);

/** Throws TD_DEBUG or TD_ATTRIBUTES_REFUSED. Returns the policy, and what of it and of the platform is a choice. */
export function verifySnpPolicy(
  { policy, vmpl, platformInfo }: SnpReport,
  aliasCheck: Policy['snpAliasCheck'],
): string {
  const written = `policy ${hex64(policy)}`;
  if (policy & DEBUG) refuse('TD_DEBUG', 'a policy without DEBUG', written);
  if (policy & MIGRATE_MA) refuse('TD_ATTRIBUTES_REFUSED', 'a policy without MIGRATE_MA', written);
  if (!(policy & RESERVED_ONE) || policy & RESERVED)
    refuse('TD_ATTRIBUTES_REFUSED', 'a policy with bit 17 and without bits 26 to 63', written);
  if (policy & CXL_ALLOW) refuse('TD_ATTRIBUTES_REFUSED', 'a policy without CXL_ALLOW', written);
  // Level 0 is the most privileged: what runs below it could be changed by what runs at it, and is not what was measured.
  if (vmpl !== 0) refuse('TD_ATTRIBUTES_REFUSED', 'a report from VMPL 0', `VMPL ${vmpl}`);
  if (aliasCheck === 'required' && !(platformInfo & bit(ALIAS_CHECK_COMPLETE)))
    refuse('TD_ATTRIBUTES_REFUSED', 'a platform that looked for memory aliases', `platform ${hex64(platformInfo)}`);
  const abi = `ABI ${(policy >> 8n) & 0xffn}.${policy & 0xffn}`;
  const choices = [abi, ...named(policy, CHOICES)].join(', ');
  return `${written} (${choices}), platform ${hex64(platformInfo)} (${named(platformInfo, PLATFORM).join(', ')})`;
}

const hex64 = (bits: bigint): string => bits.toString(16).padStart(16, '0');

const named = (bits: bigint, names: ReadonlyMap<number, string>): string[] =>
  Array.from(names).flatMap(([position, name]) => (bits & bit(position) ? name : []));
