/**
 * The two ends of one sealed exchange: an HPKE context (RFC 9180, base mode) that seals the request, and a key exported
 * from it that seals the response (RFC 9458 sections 4.3 and 4.4, with the labels of draft-ietf-ohai-chunked-ohttp-08).
 */
import { Aes128Gcm, Aes256Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from '@hpke/core';
import { XWing } from '@hpke/hybridkem-x-wing';
import type { KeyConfig } from './key-config.ts';
import { concat, invalid } from './stream-reader.ts';

// IANA, "Hybrid Public Key Encryption (HPKE)"
export const X_WING = 0x647a;
export const DHKEM_X25519 = 0x0020;
export const HKDF_SHA256 = 0x0001;
export const AEAD_AES_128_GCM = 0x0001; // of the published examples; no key of ours names it
export const AEAD_AES_256_GCM = 0x0002;

const KEMS = { [X_WING]: new XWing(), [DHKEM_X25519]: new DhkemX25519HkdfSha256() } as const;
const AEADS = { [AEAD_AES_128_GCM]: new Aes128Gcm(), [AEAD_AES_256_GCM]: new Aes256Gcm() } as const;

export type KemId = keyof typeof KEMS;
export type AeadId = keyof typeof AEADS;

/** Undefined for one that is not known here. */
export const kemOf = (kemId: number): (typeof KEMS)[KemId] | undefined =>
  Object.hasOwn(KEMS, kemId) ? KEMS[kemId as KemId] : undefined;

/** What stands before the encapsulated key: 7 bytes. */
export interface EnvelopeHeader {
  keyId: number;
  kemId: number;
  kdfId: number;
  aeadId: number;
}
export const HEADER_BYTES = 7;

/** Seals or opens the next chunk; `final`: the last of its message. Opening throws SEALED_INVALID. */
export type ChunkCipher = (chunk: Uint8Array, final: boolean) => Promise<Uint8Array>;

export interface ResponseCipher {
  seal: ChunkCipher;
  open: ChunkCipher;
}

export interface ExchangeContext {
  /** Seals (sender) or opens (recipient) the chunks of the request, in order. */
  request: ChunkCipher;
  /** Of the response, for the nonce that stands before it. */
  response(nonce: Uint8Array): Promise<ResponseCipher>;
  /** How long that nonce is: max(Nn, Nk). */
  nonceBytes: number;
}

const utf8 = new TextEncoder();
const FINAL = utf8.encode('final'); // AAD of the last chunk; that of all others is empty
const NONE = new Uint8Array();
const NONCE_BYTES = 12; // Nn of AES-GCM (RFC 9180 section 7.3)
const cipherAad = (final: boolean) => (final ? FINAL : NONE);

export function formatHeader({ keyId, kemId, kdfId, aeadId }: EnvelopeHeader): Uint8Array<ArrayBuffer> {
  return Uint8Array.of(keyId, ...[kemId, kdfId, aeadId].flatMap((id) => [id >> 8, id & 0xff]));
}

export function parseHeader(bytes: Uint8Array): EnvelopeHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_BYTES);
  const [kemId, kdfId, aeadId] = [view.getUint16(1), view.getUint16(3), view.getUint16(5)];
  return { keyId: bytes[0]!, kemId, kdfId, aeadId };
}

const suiteOf = (kemId: KemId, aeadId: AeadId): CipherSuite =>
  new CipherSuite({ kem: KEMS[kemId], kdf: new HkdfSha256(), aead: AEADS[aeadId] });
const infoOf = (header: EnvelopeHeader): Uint8Array<ArrayBuffer> =>
  concat(utf8.encode('message/bhttp chunked request\0'), formatHeader(header));

/**
 * The sender's end, and `start`: what the message begins with. Throws SEALED_INVALID for a public key that is none.
 * `ephemeral` is for the published examples alone.
 */
export async function setupSender(
  { keyId, kemId, publicKey }: KeyConfig,
  aeadId: AeadId,
  ephemeral?: CryptoKeyPair,
): Promise<ExchangeContext & { start: Uint8Array }> {
  const header = { keyId, kemId, kdfId: HKDF_SHA256, aeadId };
  const suite = suiteOf(kemId, aeadId);
  const context = await suite.kem
    .deserializePublicKey(publicKey)
    .then((recipientPublicKey) =>
      suite.createSenderContext({
        recipientPublicKey,
        info: infoOf(header),
        ...(ephemeral ? { ekm: ephemeral } : {}),
      }),
    )
    .catch(() => invalid('A public key cannot be sealed to.'));
  const enc = new Uint8Array(context.enc);
  return {
    start: concat(formatHeader(header), enc),
    request: async (chunk, final) => new Uint8Array(await context.seal(chunk, cipherAad(final))),
    ...responseOf(context, enc, aeadId),
  };
}

/** The recipient's end. Throws SEALED_INVALID for an encapsulated key that is none. */
export async function setupRecipient(
  header: EnvelopeHeader & { kemId: KemId; aeadId: AeadId },
  recipientKey: CryptoKeyPair,
  enc: Uint8Array,
): Promise<ExchangeContext> {
  const context = await suiteOf(header.kemId, header.aeadId)
    .createRecipientContext({ recipientKey, enc, info: infoOf(header) })
    .catch(() => invalid('An encapsulated key cannot be opened.'));
  return {
    request: async (chunk, final) => {
      try {
        return new Uint8Array(await context.open(chunk, cipherAad(final)));
      } catch {
        return unopened();
      }
    },
    ...responseOf(context, enc, header.aeadId),
  };
}

const unopened = () => invalid('A sealed message was changed, or was sealed to another key.');

interface Exporter {
  export(label: Uint8Array, length: number): Promise<ArrayBuffer>;
}

function responseOf(
  context: Exporter,
  enc: Uint8Array,
  aeadId: AeadId,
): Pick<ExchangeContext, 'response' | 'nonceBytes'> {
  const { keySize } = AEADS[aeadId];
  const nonceBytes = Math.max(NONCE_BYTES, keySize);
  return {
    nonceBytes,
    async response(nonce) {
      const { subtle } = globalThis.crypto;
      const secret = await context.export(utf8.encode('message/bhttp chunked response'), nonceBytes);
      const salt = concat(enc, nonce);
      const root = await subtle.importKey('raw', secret, 'HKDF', false, ['deriveBits']);
      const derive = (label: string, bytes: number) =>
        subtle.deriveBits({ name: 'HKDF', hash: 'SHA-256', salt, info: utf8.encode(label) }, root, bytes * 8);
      const key = await subtle.importKey('raw', await derive('key', keySize), 'AES-GCM', false, ['encrypt', 'decrypt']);
      const base = new Uint8Array(await derive('nonce', NONCE_BYTES));
      let counter = 0; // one of the two below is used, so each nonce once; 2^32 chunks are 64 TiB
      const next = (final: boolean): AesGcmParams => {
        const iv = base.slice();
        const view = new DataView(iv.buffer);
        view.setUint32(NONCE_BYTES - 4, view.getUint32(NONCE_BYTES - 4) ^ counter++);
        if (counter > 0xffffffff) invalid('A sealed message has too many chunks.');
        return { name: 'AES-GCM', iv, additionalData: cipherAad(final) };
      };
      return {
        seal: async (chunk, final) => new Uint8Array(await subtle.encrypt(next(final), key, concat(chunk))),
        open: async (chunk, final) =>
          new Uint8Array(await subtle.decrypt(next(final), key, concat(chunk)).catch(unopened)),
      };
    },
  };
}
