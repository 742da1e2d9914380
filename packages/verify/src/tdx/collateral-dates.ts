/** How long collateral can be used, read off it for whoever keeps it. Nothing is authenticated here: verifiers do that. */
import { reading } from '../errors.ts';
import type { TdxCollateral } from '../evidence.ts';
import { hexToBytes } from '../formats/bytes.ts';
import { parseCrl } from '../pki/crl.ts';
import { parseQeIdentity, parseTcbInfo } from './tcb-info.ts';

export interface CollateralDates {
  /** Issue of the older of TCB info and QE identity, in ms. */
  issuedMs: number;
  /** The first signed next update of the four parts, in ms: past it no verifier accepts the collateral. */
  expiresMs: number;
  /** The lower one of TCB info and QE identity. */
  tcbEvaluationDataNumber: number;
  /**
   * What only grows from one issue to the next, part by part: the evaluation numbers of TCB info and QE identity, their
   * dates of issue, and those of both lists, in ms. The older of two parts hides what the other one has got to say.
   */
  sequence: readonly number[];
}

/** Throws COLLATERAL_INVALID, also for a list that cannot be read. */
export const readCollateralDates = (collateral: TdxCollateral): CollateralDates =>
  reading('COLLATERAL_INVALID', 'collateral', () => {
    const signed = [parseTcbInfo(collateral.tcb_info), parseQeIdentity(collateral.qe_identity)];
    const lists = [collateral.pck_crl, collateral.root_ca_crl].map((crl) => parseCrl(hexToBytes(crl)));
    const numbers = signed.map((each) => each.tcbEvaluationDataNumber);
    return {
      issuedMs: Math.min(...signed.map(({ issueDate }) => issueDate)),
      expiresMs: Math.min(
        ...signed.map(({ nextUpdate }) => nextUpdate),
        ...lists.map(({ nextUpdateMs }) => nextUpdateMs),
      ),
      tcbEvaluationDataNumber: Math.min(...numbers),
      sequence: [
        ...numbers,
        ...signed.map(({ issueDate }) => issueDate),
        ...lists.map(({ thisUpdateMs }) => thisUpdateMs),
      ],
    };
  });
