/** The gateway's own answers: JSON, never stored by anybody on the way. */
import type { ServerResponse } from 'node:http';
import { AbatonError, UnavailableError } from '@abaton/verify';
import { GATEWAY_CODES, type GatewayCode } from '../codes.ts';
import { isDiskError } from '../queue/durable.ts';

const RETRY_AFTER_S = '10'; // the link looks again after 1 to 60 s

export function answerJson(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  const bytes = Buffer.from(`${JSON.stringify(body)}\n`);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': bytes.length,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...headers,
  });
  response.end(bytes);
}

/** Our own errors speak for themselves; whatever the client fails with is a connection that ended. */
export function codeOf(error: unknown): GatewayCode {
  if (error instanceof AbatonError && Object.hasOwn(GATEWAY_CODES, error.code)) return error.code as GatewayCode;
  if (error instanceof UnavailableError) return 'CONNECTION_CUT';
  return isDiskError(error) ? 'STORE_UNAVAILABLE' : 'INTERNAL';
}

export function answerError(
  response: ServerResponse,
  error: unknown,
  more: { allow?: string; reasons?: string[] } = {},
): void {
  const code = codeOf(error);
  const own = error instanceof AbatonError && error.code === code;
  const { class: kind, status, meaning } = GATEWAY_CODES[code];
  const { allow, reasons } = more;
  answerJson(
    response,
    status,
    { code, message: own ? error.message : meaning, class: kind, ...(reasons ? { reasons } : {}) },
    {
      ...(kind === 'retry' ? { 'retry-after': RETRY_AFTER_S } : {}),
      ...(code === 'METHOD_NOT_ALLOWED' && allow ? { allow } : {}),
    },
  );
}
