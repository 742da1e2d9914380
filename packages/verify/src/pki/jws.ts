/**
 * JSON Web Signatures (RFC 7515) in compact form, by ES384 alone (RFC 7518 section 3.4) and a key of a JWK set (RFC 7517).
 * Whoever gives the set vouches for its keys: it is fetched by TLS from the issuer, and certificates in it are not judged.
 */
import { refuse } from '../errors.ts';
import { concatBytes, decodeBase64, decodeUtf8, equalBytes, malformed, utf8ToBytes } from '../formats/bytes.ts';
import { DerFields, parseDer, TAG } from '../formats/der.ts';
import { list, object, oneOf, optional, parseJson, text } from '../formats/schema.ts';
import { ecPoint, type PublicKey, parsePublicKey, verifySignature } from './signature.ts';

export interface Jws {
  /** Which key of the set. */
  kid: string;
  /** Parsed JSON; not to be read before the signature holds. */
  payload: unknown;
  signed: Uint8Array;
  signature: Uint8Array;
}

/** Critical extensions (`crit`) and keys inside the token (`jwk`, `x5c`, `jku`) are refused with every other member. */
const parseHeader = object<{ alg: 'ES384'; kid: string; typ: 'JWT' }>({
  alg: oneOf('ES384'),
  kid: text(200, /./, 'a key id'),
  typ: optional(oneOf('JWT'), 'JWT'),
});

/** Throws MalformedError, also for any algorithm but ES384. */
export function parseJws(compact: string): Jws {
  const parts = compact.split('.', 4);
  if (parts.length !== 3) malformed('token is not of three parts');
  const [header, payload, signature] = parts as [string, string, string];
  return {
    kid: parseHeader(parseJsonPart(header), 'header').kid,
    payload: parseJsonPart(payload),
    signed: utf8ToBytes(`${header}.${payload}`),
    signature: decodeBase64Url(signature),
  };
}

const parseJsonPart = (part: string): unknown => parseJson(decodeUtf8(decodeBase64Url(part)));

/** RFC 7515 appendix C, canonical: no padding, unused bits zero. */
function decodeBase64Url(part: string): Uint8Array {
  if (!/^[\w-]*$/.test(part)) malformed('base64url has foreign characters or padding');
  const padded = part.padEnd(Math.ceil(part.length / 4) * 4, '=');
  return decodeBase64(padded.replaceAll('-', '+').replaceAll('_', '/'));
}

/** Throws TOKEN_INVALID unless the key has signed. */
export async function verifyJws({ signature, signed }: Jws, key: PublicKey): Promise<void> {
  if (!(await verifySignature(key, signature, signed)))
    refuse('TOKEN_INVALID', 'a token signed by the key that it names', 'a signature that does not verify');
}

const KEYS = 256; // NVIDIA's set has 32
const COORDINATE = /^[\w-]{64}$/; // 48 bytes

interface Jwk {
  kty: 'EC';
  crv: 'P-384';
  use: 'sig';
  alg: 'ES384';
  x: string;
  y: string;
  x5c: string[];
}

/** Keys of other kinds may stand in the set (RFC 7517 section 5), as long as nobody names them. */
const parseSet = object<{ keys: unknown[] }>({ keys: list((key) => key, KEYS) }, { open: true });
const parseKeyId = object<{ kid: string }>({ kid: optional(text(200), '') }, { open: true });
const parseJwk = object<Jwk>(
  {
    kty: oneOf('EC'),
    crv: oneOf('P-384'),
    use: optional(oneOf('sig'), 'sig'),
    alg: optional(oneOf('ES384'), 'ES384'),
    x: optional(text(64, COORDINATE, 'a coordinate of P-384'), ''),
    y: optional(text(64, COORDINATE, 'a coordinate of P-384'), ''),
    x5c: optional(list(text(16 * 1024), 8), []),
  },
  { open: true },
);

/** The one key with this id, from its coordinates or its certificate; both must agree. Throws MalformedError. */
export function findKey(jwks: unknown, kid: string): PublicKey {
  const found = parseSet(jwks, 'jwks').keys.filter((key) => parseKeyId(key, 'jwks key').kid === kid);
  if (found.length !== 1) malformed(`jwks has ${found.length} keys ${kid}`);
  const { x, y, x5c } = parseJwk(found[0], `jwks key ${kid}`);
  const keys = [
    ...(x || y ? [ecPoint('P-384', concatBytes(decodeBase64Url(x), decodeBase64Url(y)))] : []),
    ...x5c.slice(0, 1).map((certificate) => parseCertificateKey(decodeBase64(certificate))),
  ];
  const [key] = keys;
  if (!key || keys.some(({ algorithm, bytes }) => algorithm !== 'P-384' || !equalBytes(bytes, key.bytes)))
    return malformed(`jwks key ${kid} is not one key on P-384`);
  return key;
}

/** NVIDIA's are signed by RSA with PKCS#1 v1.5, which pki/x509.ts does not read; the key is all that is wanted. */
function parseCertificateKey(der: Uint8Array): PublicKey {
  const tbs = new DerFields(new DerFields(parseDer(der, TAG.SEQUENCE).value).next(TAG.SEQUENCE).value);
  tbs.next(TAG.CONTEXT_0); // version
  tbs.next(TAG.INTEGER); // serial number
  for (const _ of ['signature', 'issuer', 'validity', 'subject']) tbs.next(TAG.SEQUENCE);
  return parsePublicKey(tbs.next(TAG.SEQUENCE).raw);
}
