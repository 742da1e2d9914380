/** The page of sealed-in-browser.test.ts: asks what to do with sealed requests, does it, brings what came of it. */
import { connectSealed } from '../../packages/client/src/browser.ts';
import { chooseKeyConfig, parseKeyConfigs } from '../../packages/client/src/sealed/key-config.ts';
import { SEALED_REQUEST, sealRequest } from '../../packages/client/src/sealed/ohttp-client.ts';
import { AbatonError, type Policy } from '../../packages/verify/src/index.ts';
import { decode, encode } from './wire.ts';

export interface Task {
  policy: Policy;
  acceptedRootsSha256: readonly string[];
  method: string;
  path: string;
  headers: Record<string, string>;
  body: Uint8Array | null;
  /** What to do: an exchange; one over the connection of the exchange before; or things that must be refused. */
  what: 'exchange' | 'again' | 'misuse';
}
export type Outcome =
  | { status: number; headers: Record<string, string>; body: Uint8Array; checks: Record<string, string> }
  | { codes: string[] }
  | { refused: string }
  | { bug: string };

let held: Awaited<ReturnType<typeof connectSealed>> | undefined;

async function run({ what, policy, acceptedRootsSha256, method, path, headers, body }: Task): Promise<Outcome> {
  const url = location.origin;
  async function* source() {
    if (body) yield body;
  }
  const request = { method, path, headers, ...(body ? { body: source() } : {}) };
  if (what !== 'again') held = await connectSealed({ url, policy, acceptedRootsSha256 });
  if (what === 'misuse') return { codes: await misuse(held!.evidence.reportData.hpkePublicKey!, path) };
  const answer = await held!.request(request);
  const checks = Object.fromEntries(held!.verdict.checks.map(({ id, status }) => [id, status]));
  return { status: answer.status, headers: answer.headers, body: await answer.bytes(), checks };
}

/** One sealing: changed, cut, whole, and once more. */
async function misuse(keys: string, path: string): Promise<string[]> {
  const config = chooseKeyConfig(parseKeyConfigs(Uint8Array.from(atob(keys), (char) => char.charCodeAt(0))))!;
  const sealed = await sealRequest(config, { method: 'GET', authority: location.host, path });
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for await (const part of sealed.body) parts.push(new Uint8Array(part));
  const message = new Uint8Array(await new Blob(parts).arrayBuffer());
  const changed = message.with(message.length - 1, message.at(-1)! ^ 1);
  const codes: string[] = [];
  for (const body of [changed, message.slice(0, -1), message, message]) {
    const init = { method: 'POST', headers: { 'content-type': SEALED_REQUEST }, body };
    const response = await fetch('/sealed', init);
    codes.push(response.ok ? response.headers.get('content-type')! : (await response.json()).code);
    if (response.ok) await response.arrayBuffer();
  }
  return codes;
}

async function answer(question: string): Promise<string> {
  try {
    return encode(await run(decode(question) as Task));
  } catch (error) {
    if (error instanceof AbatonError) return encode({ refused: error.code });
    return encode({ bug: error instanceof Error ? error.stack : String(error) });
  }
}

let body = '';
for (;;) {
  const response = await fetch('/next', { method: 'POST', body });
  body = await answer(await response.text());
}
