/** The HTTP face of a witness (C2SP tlog-witness): add-checkpoint for logs, the newest cosigned checkpoint for monitors. */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { AbatonError } from '@abaton/verify';
import { GATEWAY_CODES } from '../codes.ts';
import { codeOf } from '../http/answers.ts';
import { readBody, settleBody } from '../http/body.ts';
import { type Listener, listen, type VerifyCaller } from '../http/listen.ts';
import { type Logger, traceOf } from '../log.ts';
import { MAX_BODY_BYTES } from './request.ts';
import type { Witness, WitnessAnswer } from './witness.ts';

export interface WitnessServiceOptions {
  witness: Witness;
  logger: Logger;
  /** IP address to listen on; without `tls` only 127.0.0.0/8 and ::1. */
  host: string;
  /** 0 takes a free port. */
  port: number;
  /** PEM. */
  tls: { cert: string; key: string } | null;
  /** Of a log that stands still while it sends. Default: 10 s. */
  patienceMs?: number;
}

const PATIENCE_MS = 10_000; // a request is smaller than a page of the web
const CHECKPOINT_PATH = /^\/([0-9a-f]{64})\/checkpoint$/;
type Answer = Omit<WitnessAnswer, 'status'> & { status: number };
const plain = (status: number, body: string): Answer => ({ status, contentType: 'text/plain; charset=utf-8', body });

/** Throws LISTEN_REFUSED. Whoever reaches the port may ask: what counts is the signature of the log. */
export function startWitnessService({ host, port, tls, ...deps }: WitnessServiceOptions): Promise<Listener> {
  return listen({ host, port, tls, handler: (verifyCaller) => createWitnessHandler(deps, verifyCaller) });
}

type Deps = Omit<WitnessServiceOptions, 'host' | 'port' | 'tls'>;

function createWitnessHandler(deps: Deps, verifyCaller: VerifyCaller): RequestListener {
  return (request, response) => {
    response.on('error', () => {}); // the client went away; `close` follows
    void answerOf(deps, verifyCaller, request)
      .catch((error): Answer => {
        const code = codeOf(error);
        if (code === 'INTERNAL') deps.logger.error('defect', traceOf(error));
        const own = error instanceof AbatonError;
        return plain(GATEWAY_CODES[code].status, `${code}: ${own ? error.message : GATEWAY_CODES[code].meaning}\n`);
      })
      .then((answer) => send(response, answer))
      .finally(() => settleBody(request));
  };
}

async function answerOf(deps: Deps, verifyCaller: VerifyCaller, request: IncomingMessage): Promise<Answer> {
  const { method, url = '' } = request;
  verifyCaller(request.headers);
  if (method === 'POST' && url === '/add-checkpoint') return addCheckpoint(deps, request);
  const [, hash] = CHECKPOINT_PATH.exec(url) ?? [];
  const head = method === 'GET' && hash !== undefined ? deps.witness.headByHash(hash) : null;
  return head ? plain(200, head.note) : plain(404, 'There is nothing here: see C2SP tlog-witness.\n');
}

async function addCheckpoint({ witness, patienceMs = PATIENCE_MS }: Deps, request: IncomingMessage): Promise<Answer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of readBody(request, MAX_BODY_BYTES, patienceMs)) chunks.push(chunk);
  let body: string;
  try {
    body = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(chunks));
  } catch {
    return plain(400, 'The request is not UTF-8.\n');
  }
  return witness.addCheckpoint(body);
}

function send(response: ServerResponse, { status, contentType, body }: Answer): void {
  const bytes = Buffer.from(body);
  response.writeHead(status, {
    'content-type': contentType,
    'content-length': bytes.length,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...(status === 503 ? { 'retry-after': '10' } : {}), // as the gateway's own answers
  });
  response.end(bytes);
}
