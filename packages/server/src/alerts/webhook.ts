/** One alert to one https: webhook: verified TLS, no redirect, and nothing of the answer but its status. */
import { request } from 'node:https';
import { type AlertMessage, reasonOf } from './alert.ts';

export interface WebhookOptions {
  /** Certificates (PEM) to trust instead of those of Node; for tests. */
  ca?: string;
  timeoutMs: number;
}

/** Returns null when the webhook has answered 2xx in time, else why not. Never throws. */
export async function postWebhook(
  url: string,
  message: AlertMessage,
  { ca, timeoutMs }: WebhookOptions,
): Promise<string | null> {
  const signal = AbortSignal.timeout(timeoutMs);
  const body = JSON.stringify(message);
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
  try {
    return await new Promise((resolve, reject) => {
      const ask = request(
        url,
        // said here, since an environment variable of Node can turn the check off
        { method: 'POST', headers, agent: false, signal, rejectUnauthorized: true, ...(ca && { ca }) },
        (response) => {
          response.on('error', () => {}).destroy(); // its body is unread, whatever it holds
          const { statusCode = 0 } = response;
          resolve(statusCode >= 200 && statusCode < 300 ? null : `status-${statusCode}`);
        },
      );
      ask.on('error', reject);
      ask.end(body);
    });
  } catch (error) {
    return signal.aborted ? 'timeout' : reasonOf(error);
  }
}
