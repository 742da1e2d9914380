/** Officers with keys, and the notes that they sign. */
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import {
  ED25519_TYPE,
  formatOfficerOrder,
  formatSignatureLine,
  formatVkey,
  type OrderBody,
  parseVkey,
} from '@abaton/verify';

export interface TestOfficer {
  key: KeyObject;
  vkey: string;
}

export function createOfficer(name: string): TestOfficer {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const raw = Buffer.from(publicKey.export({ format: 'jwk' }).x!, 'base64url');
  return { key: privateKey, vkey: formatVkey(name, ED25519_TYPE, raw) };
}

export const signNote = (text: string, { key, vkey }: TestOfficer): string =>
  `${text}\n${formatSignatureLine(parseVkey(vkey), sign(null, Buffer.from(text), key))}`;

export const newOrderId = (): string => randomBytes(16).toString('hex');

export const orderText = (
  order: OrderBody,
  { origin, id = newOrderId(), signedMs = Date.now() }: { origin: string; id?: string; signedMs?: number },
): string => formatOfficerOrder({ origin, id, signedMs, order });
