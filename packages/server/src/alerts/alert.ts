/**
 * What the security contacts are told: that something happened, never to whom. It goes out in clear, by way of
 * strangers, so it holds public facts of the log only: no patient, no address of ours, no free text.
 */
import { createHash } from 'node:crypto';

export interface Alert {
  /** 'incident', 'gate-closed', 'gate-degraded'. */
  kind: string;
  /** Id of the incident; null when there is none. */
  incidentId: string | null;
  codes: readonly string[];
  /** ISO 8601 UTC. */
  at: string;
}

/** An alert as it is sent. */
export interface AlertMessage extends Alert {
  /** `app_name` of the manifest. */
  app: string;
}

/** These five members, whatever else the alert may hold. */
export const messageOf = ({ kind, incidentId, codes, at }: Alert, app: string): AlertMessage => ({
  ...{ app, kind, incidentId, codes, at },
});

export interface Contact {
  kind: 'mail' | 'webhook';
  /** Place in the manifest: what logs say instead of the address. */
  index: number;
  /** Address of mail, or URL. */
  target: string;
  /** Names the contact in the outbox: 16 hex digits of the SHA-256 of its text. */
  key: string;
}

/** `text` as in the manifest's `security_contacts`: `mailto:…` or `https://…`. */
export function parseContact(text: string, index: number): Contact {
  const key = createHash('sha256').update(text).digest('hex').slice(0, 16);
  return text.startsWith('mailto:')
    ? { kind: 'mail', index, target: text.slice('mailto:'.length), key }
    : { kind: 'webhook', index, target: text, key };
}

/** Why a delivery failed, as a token: an error code or 'failed'. Messages of errors hold addresses. */
export function reasonOf(error: unknown): string {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' && /^[A-Z0-9_]{1,64}$/.test(code) ? code : 'failed';
}
