/** What the tests run both in Node and in the page, by name. One argument each; bytes are allowed anywhere in it. */

import {
  bytesToHex,
  decodeBase64,
  decodeUtf8,
  hexToBytes,
  MalformedError,
} from '../../packages/verify/src/formats/bytes.ts';
import { DerFields, timeOf } from '../../packages/verify/src/formats/der.ts';
import { parsePemChain } from '../../packages/verify/src/formats/pem.ts';
import {
  AbatonError,
  type EvidenceFiles,
  parseVkey,
  VerifiedCache,
  type VerifyEvidenceInput,
  type Vkey,
  verifyEvidence,
  verifyFiles,
  verifyNote,
} from '../../packages/verify/src/index.ts';
import {
  type KeyAlgorithm,
  type PublicKey,
  parsePublicKey,
  parseSignature,
  verifySignature,
} from '../../packages/verify/src/pki/signature.ts';
import { parseCertificate, verifyChain, verifyDates } from '../../packages/verify/src/pki/x509.ts';
import type { Outcome } from './wire.ts';

/** Whether this is a browser, and has what Node lacks. */
const describeEngine = (_: null) => ({
  browser: 'document' in globalThis,
  secureContext: globalThis.isSecureContext ?? null,
  fromBase64: 'fromBase64' in Uint8Array,
});

/** WebCrypto as it is, without this package: its answer, or the name of its error. */
async function askWebCrypto(question: {
  format: 'raw' | 'spki';
  key: Uint8Array<ArrayBuffer>;
  importAs: AlgorithmIdentifier | EcKeyImportParams | RsaHashedImportParams;
  verifyAs: AlgorithmIdentifier | EcdsaParams | RsaPssParams;
  signature: Uint8Array<ArrayBuffer>;
  message: Uint8Array<ArrayBuffer>;
}): Promise<boolean | string> {
  const { subtle } = globalThis.crypto;
  const { format, importAs, verifyAs, signature, message } = question;
  try {
    const key = await subtle.importKey(format, question.key, importAs, false, ['verify']);
    return await subtle.verify(verifyAs, key, signature, message);
  } catch (error) {
    if (error instanceof DOMException) return error.name;
    throw error;
  }
}

const readSignature = ({ algorithm, bits }: { algorithm: KeyAlgorithm; bits: Uint8Array }) =>
  parseSignature(algorithm, bits);

interface SignedMessage {
  signature: Uint8Array;
  message: Uint8Array;
}
const verifyWithKey = ({ key, signature, message }: SignedMessage & { key: PublicKey }) =>
  verifySignature(key, signature, message);

/** From the encodings of a certificate: SubjectPublicKeyInfo and the signature's BIT STRING. */
function verifyEncoded({ spki, signature, message }: SignedMessage & { spki: Uint8Array }): Promise<boolean> {
  const key = parsePublicKey(spki);
  return verifySignature(key, parseSignature(key.algorithm, signature), message);
}

const openNote = ({ note, vkeys }: { note: string; vkeys: Vkey[] }) => verifyNote(note, vkeys).text;

/** What is read of each certificate, once names, signatures and dates of the chain hold. */
async function verifyPemChain({ pem, first, nowMs }: { pem: string; first: 'leaf' | 'ca'; nowMs: number }) {
  const chain = parsePemChain(pem).map(parseCertificate);
  await verifyChain(chain, first);
  verifyDates(chain, nowMs);
  return chain.map(({ serial, notBeforeMs, notAfterMs }) => ({ serial, notBeforeMs, notAfterMs }));
}

const readTime = (der: Uint8Array) => timeOf(new DerFields(der));

/** Each null where it refuses: @noble takes the engine's own hexadecimal, where there is one. */
function readText({ text, bytes }: { text: string; bytes: Uint8Array }) {
  const orNull = <T>(read: () => T): T | null => {
    try {
      return read();
    } catch {
      return null;
    }
  };
  return {
    hex: orNull(() => hexToBytes(text)),
    written: bytesToHex(bytes),
    base64: orNull(() => decodeBase64(text)),
    utf8: orNull(() => decodeUtf8(bytes)),
  };
}

const judgeFiles = ({ files, ...options }: { files: EvidenceFiles } & Parameters<typeof verifyFiles>[1]) =>
  verifyFiles(files, options);

/** Mean ms of a verdict: the first of all, those that know the collateral, and those that do not. */
async function timeVerdicts({ input, count }: { input: VerifyEvidenceInput; count: number }) {
  const cache = new VerifiedCache();
  const mean = async (count: number, known: boolean) => {
    const startMs = performance.now();
    for (let i = 0; i < count; i++) await verifyEvidence({ ...input, ...(known && { cache }) });
    return (performance.now() - startMs) / count;
  };
  return { firstMs: await mean(1, true), knownMs: await mean(count, true), newMs: await mean(count, false) };
}

const functions = {
  ...{ verifyEvidence, verifyFiles: judgeFiles, timeVerdicts },
  ...{ describeEngine, askWebCrypto, readSignature, verifyWithKey, verifyEncoded, parsePublicKey },
  ...{ verifyPemChain, readTime, readText, parseVkey, openNote },
};
type Functions = typeof functions;
export type Name = keyof Functions;
export type Input<N extends Name> = Parameters<Functions[N]>[0];
export type Result<N extends Name> = Outcome<Awaited<ReturnType<Functions[N]>>>;

/** Rejects only on a bug. */
export async function call<N extends Name>(name: N, input: Input<N>): Promise<Result<N>> {
  const run = functions[name] as (input: Input<N>) => unknown;
  try {
    return { value: await run(input) } as Result<N>;
  } catch (error) {
    if (error instanceof AbatonError) return { refused: error.code };
    if (error instanceof MalformedError) return { refused: `malformed: ${error.message}` };
    throw error;
  }
}
