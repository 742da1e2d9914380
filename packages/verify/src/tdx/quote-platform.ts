/** Which collateral a quote needs, for whoever fetches it. Nothing is verified. */
import { reading } from '../errors.ts';
import { parseCertificate } from '../pki/x509.ts';
import { parsePckPlatform } from './pck-extension.ts';
import { parseTdxQuote } from './tdx-quote.ts';

/** What a PCCS is asked for with this quote. Throws QUOTE_MALFORMED, QUOTE_UNSUPPORTED or CERTIFICATE_INVALID. */
export function readQuotePlatform(quote: Uint8Array): { fmspc: string; ca: 'processor' | 'platform' } {
  const { pckChain } = parseTdxQuote(quote);
  return reading('CERTIFICATE_INVALID', 'PCK certificate', () => {
    const leaf = parseCertificate(pckChain[0]);
    const issuer = String.fromCharCode(...leaf.issuer); // "… PCK Processor CA" or "… PCK Platform CA"
    return { fmspc: parsePckPlatform(leaf).fmspc, ca: issuer.includes('Processor CA') ? 'processor' : 'platform' };
  });
}
