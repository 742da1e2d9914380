/** A client that verifies nothing: what keeps data out, or public facts in the open, is then the server alone. */
import https from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';

export interface CarelessAnswer {
  status: number;
  text: string;
}

/** HTTP/1.1 on a connection of its own; a body goes as application/dicom. Rejects when the server does not answer, or is cut. */
export function careless(url: string, method: string, path: string, body?: Uint8Array): Promise<CarelessAnswer> {
  return new Promise((resolve, reject) => {
    const headers = body ? { 'content-type': 'application/dicom' } : {};
    const options = { method, headers, rejectUnauthorized: false, agent: false };
    const request = https.request(`${url}${path}`, options, (response) => {
      let text = '';
      response.on('data', (chunk) => (text += chunk)).on('error', reject);
      response.on('end', () => resolve({ status: response.statusCode!, text }));
    });
    request.on('error', reject).end(body);
  });
}

const GUARD_MS = 60_000; // against hanging; nothing that waits is about speed

export async function until(what: string, reached: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + GUARD_MS; !(await reached()); await sleep(50))
    if (Date.now() > deadline) throw new Error(`${what}: not reached`);
}
