/** Certificates in PEM (RFC 7468), in the one form that its section 3 tells generators to write. */
import { decodeBase64, encodeBase64, malformed } from './bytes.ts';

const BEGIN = '-----BEGIN CERTIFICATE-----';
const END = '-----END CERTIFICATE-----';

/**
 * DER of each certificate, in order. The text must be what `formatPemChain` writes, byte for byte, except that the
 * last line break may be absent: looser white space would let a quote be changed without changing its meaning.
 */
export function parsePemChain(text: string): Uint8Array[] {
  const blocks = text.matchAll(new RegExp(`${BEGIN}([A-Za-z0-9+/=\n]+)${END}`, 'g'));
  const chain = Array.from(blocks, ([, body]) => decodeBase64(body!.replaceAll('\n', '')));
  const form = formatPemChain(chain);
  if (text !== form && `${text}\n` !== form) malformed('PEM is not in strict form (RFC 7468 section 3)');
  return chain;
}

export function formatPemChain(chain: readonly Uint8Array[]): string {
  return chain.map((der) => `${BEGIN}\n${encodeBase64(der).replace(/.{1,64}/g, '$&\n')}${END}\n`).join('');
}
