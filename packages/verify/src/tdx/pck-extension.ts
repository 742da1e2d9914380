/**
 * SGX extension of a PCK certificate (Intel SGX PCK Certificate and CRL Profile Specification, section 1.3.5):
 * SEQUENCE of { OID, value } under 1.2.840.113741.1.13.1. It says which platform this is and which TCB its key certifies.
 */

import { bytesToHex, malformed } from '../formats/bytes.ts';
import { DerFields, integerOf, oidOf, parseDer, parseDerList, TAG } from '../formats/der.ts';
import type { Certificate } from '../pki/x509.ts';

export interface PckPlatform {
  /** Family-Model-Stepping-Platform-CustomSKU, 12 hex digits. Lower case, as all hex here. */
  fmspc: string;
  pceId: string;
  /** Platform Provisioning ID, 32 hex digits: names this one machine. */
  ppid: string;
  /** Security versions of the 16 TCB components. */
  componentSvns: number[];
  pceSvn: number;
}

const SGX_EXTENSION = '1.2.840.113741.1.13.1';
const COMPONENTS = 16;

/** Throws MalformedError. */
export function parsePckPlatform({ extensions }: Certificate): PckPlatform {
  const extension = extensions.get(SGX_EXTENSION);
  if (!extension) return malformed('PCK certificate has no SGX extension');
  const members = parseMembers(extension.value, SGX_EXTENSION);
  const tcb = parseMembers(members.next('2', TAG.SEQUENCE).raw, `${SGX_EXTENSION}.2`);
  const componentSvns = Array.from({ length: COMPONENTS }, (_, i) => integerOf(tcb.next(`${i + 1}`, TAG.INTEGER)));
  const octets = (name: string, length: number): string => {
    const { value } = members.next(name, TAG.OCTET_STRING);
    return value.length === length ? bytesToHex(value) : malformed(`SGX extension ${name} has ${value.length} bytes`);
  };
  return {
    ppid: octets('1', 16),
    componentSvns,
    pceSvn: integerOf(tcb.next('17', TAG.INTEGER)),
    pceId: octets('3', 2),
    fmspc: octets('4', 6),
  };
}

/** The members by the last arc of their identifiers. */
function parseMembers(sequence: Uint8Array, parent: string) {
  const members = new Map<string, DerFields>();
  for (const { value } of parseDerList(parseDer(sequence, TAG.SEQUENCE).value, TAG.SEQUENCE)) {
    const fields = new DerFields(value);
    const oid = oidOf(fields.next(TAG.OID));
    if (members.has(oid)) malformed(`SGX extension ${oid} occurs twice`);
    members.set(oid, fields);
  }
  return {
    next(arc: string, tag: number) {
      const fields = members.get(`${parent}.${arc}`);
      if (!fields) return malformed(`SGX extension has no member ${arc}`);
      const value = fields.next(tag);
      fields.end();
      return value;
    },
  };
}
