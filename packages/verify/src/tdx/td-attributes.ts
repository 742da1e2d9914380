/** What the host may do with the guest (Intel TDX Module ABI, "ATTRIBUTES" and "TDREPORT_STRUCT"). */
import { refuse } from '../errors.ts';
import { bytesToHex, isZero } from '../formats/bytes.ts';
import type { TdReport } from './tdx-quote.ts';

/** TDATTRIBUTES, as memory order hex: SEPT_VE_DISABLE, bit 28, and no other bit. */
const TD_ATTRIBUTES = '0000001000000000';

/**
 * Throws TD_DEBUG for any bit of the first byte (TUD: the guest is under debug), TD_ATTRIBUTES_REFUSED for others, and
 * for a service domain: it could migrate the guest to another machine, or provision it.
 */
export function verifyTdAttributes({ tdAttributes, mrServiceTd }: TdReport): string {
  const seen = bytesToHex(tdAttributes);
  if (tdAttributes[0] !== 0) refuse('TD_DEBUG', `attributes ${TD_ATTRIBUTES}`, seen);
  if (seen !== TD_ATTRIBUTES) refuse('TD_ATTRIBUTES_REFUSED', `attributes ${TD_ATTRIBUTES}`, seen);
  if (mrServiceTd && !isZero(mrServiceTd))
    refuse('TD_ATTRIBUTES_REFUSED', 'no service domain', `MRSERVICETD ${bytesToHex(mrServiceTd)}`);
  return seen;
}
