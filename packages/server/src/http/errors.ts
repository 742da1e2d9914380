/** From an error to an answer: a code of our table with its own message, or INTERNAL with none of what was thrown. */
import { AbatonError, VerificationError } from '@abaton/verify';
import type { Context, Env } from 'hono';
import { ERRORS, type ErrorCode } from '../errors.ts';

export interface Failure {
  code: ErrorCode;
  message: string;
  status: number;
  class: (typeof ERRORS)[ErrorCode]['class'];
  issue: string;
}

/** Only our own errors speak for themselves. Anything else may carry what a request or a file contained. */
export function failureOf(error: unknown): Failure {
  const own = error instanceof AbatonError && Object.hasOwn(ERRORS, error.code);
  const other = error instanceof VerificationError ? 'ATTESTATION_FAILED' : 'INTERNAL';
  const code = own ? (error.code as ErrorCode) : other;
  const { status, class: kind, issue, meaning } = ERRORS[code];
  return { code, message: own ? error.message : meaning, status, class: kind, issue };
}

/** FHIR clients get an OperationOutcome (http://hl7.org/fhir/R4/operationoutcome.html), everybody else our own body. */
export function errorResponse<E extends Env>(c: Context<E>, error: unknown, requestId: string): Response {
  const { code, message, status, class: kind, issue } = failureOf(error);
  if (kind === 'retry') c.header('retry-after', '5'); // seconds; the gate looks again every few
  if (c.req.path.startsWith('/fhir/')) {
    const severity = kind === 'stop' ? 'fatal' : 'error';
    const details = { coding: [{ system: 'urn:abaton:error', code }], text: message };
    const outcome = {
      resourceType: 'OperationOutcome',
      issue: [{ severity, code: issue, details, diagnostics: `request ${requestId}` }],
    };
    return c.body(JSON.stringify(outcome), status as 400, { 'content-type': 'application/fhir+json' });
  }
  return c.json({ code, message, class: kind, requestId }, status as 400);
}
