/** Alerts by SMTP submission (RFC 6409): TLS from the start (`smtps:`) or from STARTTLS on (`smtp:`), never without. */
import { createTransport } from 'nodemailer';
import { errorOf } from '../errors.ts';
import { type AlertMessage, reasonOf } from './alert.ts';

export interface SmtpOptions {
  /** `smtps://user:password@host:port` or `smtp://…`. */
  url: string;
  /** Address that alerts come from. */
  from: string;
  /** Certificates (PEM) to trust instead of those of Node; for tests. */
  ca?: string;
}

/** Returns null when the server has taken the message in time, else why not. Never throws. */
export type SendMail = (to: string, message: AlertMessage, timeoutMs: number) => Promise<string | null>;

/** RFC 8314 section 3.3: 465 with implicit TLS; RFC 6409: 587. */
const PORTS: Record<string, number> = { 'smtps:': 465, 'smtp:': 587 };

/** Throws SETTING_INVALID. */
export function createMailer({ url, from, ca }: SmtpOptions): SendMail {
  const { protocol, hostname, port, username, password } = URL.canParse(url) ? new URL(url) : ({} as Partial<URL>);
  if (!protocol || !PORTS[protocol] || !hostname)
    throw errorOf('SETTING_INVALID', 'ABATON_SMTP_URL must be smtps://user:password@host:port, or smtp://….');
  const auth = username ? { user: decoded(username), pass: decoded(password ?? '') } : null;
  if (!/^[^@\s]+@[^@\s]+$/.test(from)) throw errorOf('SETTING_INVALID', 'ABATON_SMTP_FROM must be an address of mail.');
  return async (to, message, timeoutMs) => {
    const transport = createTransport({
      host: hostname.replace(/^\[|\]$/g, ''),
      port: Number(port || PORTS[protocol]),
      secure: protocol === 'smtps:',
      requireTLS: true,
      tls: { rejectUnauthorized: true, ...(ca && { ca }) },
      ...(auth && { auth }),
      connectionTimeout: timeoutMs,
      greetingTimeout: timeoutMs,
      socketTimeout: timeoutMs,
      disableFileAccess: true,
      disableUrlAccess: true,
    });
    const late = Promise.withResolvers<string>();
    const timer = setTimeout(() => late.resolve('timeout'), timeoutMs);
    try {
      const sent = transport.sendMail({ from, to, subject: subjectOf(message), text: textOf(message) });
      return await Promise.race([sent.then(() => null, reasonOf), late.promise]);
    } catch (error) {
      return reasonOf(error);
    } finally {
      clearTimeout(timer);
      transport.close();
    }
  };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // without its cause, which holds them
    throw errorOf('SETTING_INVALID', 'In user and password of ABATON_SMTP_URL, write % as %25.');
  }
}

const subjectOf = ({ app, kind, incidentId }: AlertMessage): string =>
  `Abaton ${app}: ${kind}${incidentId ? ` ${incidentId}` : ''}`;

const textOf = ({ app, kind, incidentId, codes, at }: AlertMessage): string =>
  [
    `${kind} of ${app} at ${at}`,
    ...(incidentId ? [`incident: ${incidentId}`] : []),
    `codes: ${codes.join(' ')}`,
    '',
    'See docs/operations.md, "Incidents".',
    '',
  ].join('\n');
