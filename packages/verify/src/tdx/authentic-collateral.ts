/**
 * Whether collateral is what it claims to be for the platform of one quote, whatever it says and whatever the date: for
 * whoever keeps it. A service can be wrong, or be somebody else, and one lie that is kept (a number or a date far ahead)
 * would shut out everything true that comes later.
 */
import { reading } from '../errors.ts';
import type { TdxCollateral } from '../evidence.ts';
import { parseCertificate } from '../pki/x509.ts';
import { authenticateLists, authenticateTcb, verifySameAuthority, verifySamePlatform } from './collateral.ts';
import { parsePckPlatform } from './pck-extension.ts';
import { parseTdxQuote } from './tdx-quote.ts';

/**
 * Signed under the root that the quote names, by the authority of its PCK certificate, for its FMSPC and PCEID. Neither
 * the quote nor that root is verified, no date is compared, and a certificate that the lists revoke is no reason to refuse
 * them. Throws QUOTE_MALFORMED, QUOTE_UNSUPPORTED, CERTIFICATE_INVALID, CRL_INVALID or COLLATERAL_INVALID.
 */
export async function authenticateCollateral(collateral: TdxCollateral, quote: Uint8Array): Promise<void> {
  const { pckChain } = parseTdxQuote(quote);
  const [ca, platform] = reading('CERTIFICATE_INVALID', 'PCK chain', () => [
    parseCertificate(pckChain[1]),
    parsePckPlatform(parseCertificate(pckChain[0])),
  ]);
  const { issuerChain } = await authenticateLists(collateral, pckChain[2]);
  verifySameAuthority(issuerChain[0]!, ca);
  const { tcbInfo } = await authenticateTcb(collateral, pckChain[2]);
  verifySamePlatform(tcbInfo, platform);
}
