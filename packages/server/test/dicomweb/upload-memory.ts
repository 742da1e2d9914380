/** Measures what an upload does to the memory of the server. Called by stow-memory.test.ts and by `npm run soak`. */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ask } from './client.ts';
import { imageHeader } from './part10.ts';

const MiB = 2 ** 20;
const FRAME = 1024 * 1024;
/** What an upload of any size may add to the level after one warm-up upload. */
export const MAX_GROWTH_BYTES = 96 * MiB;

/** One 8-bit multi-frame instance of about so many bytes, made as it is sent. */
async function* hugeInstance(bytes: number, boundary: string, serial: number): AsyncGenerator<Buffer> {
  const frames = Math.floor(bytes / FRAME);
  yield Buffer.from(`--${boundary}\r\nContent-Type: application/dicom\r\n\r\n`);
  const study = `1.2.3.${serial}`;
  yield imageHeader({ study, series: `${study}.1`, instance: `${study}.1.1`, rows: 1024, columns: 1024, frames });
  const head = Buffer.from('e07f10004f57000000000000', 'hex');
  head.writeUInt32LE(frames * FRAME, 8);
  yield head;
  const piece = Buffer.alloc(64 * 1024, 0x55);
  for (let sent = 0; sent < frames * FRAME; sent += piece.length) yield piece;
  yield Buffer.from(`\r\n--${boundary}--\r\n`);
}

export interface UploadMemory {
  version: 1 | 2;
  bytes: number;
  /** Of the server process, after the warm-up upload. */
  levelBytes: number;
  /** The most that it was above that level during the upload. */
  growthBytes: number;
  bytesPerSecond: number;
}

/** Sends one instance of `warmUpBytes`, then one of each of `sizes`, to a server of its own. */
export async function measureUploads(
  version: 1 | 2,
  warmUpBytes: number,
  sizes: readonly number[],
): Promise<UploadMemory[]> {
  const child = fork(fileURLToPath(new URL('house-process.ts', import.meta.url)), { stdio: 'inherit' });
  const answer = async <T>(message: string): Promise<T> => {
    const answered = once(child, 'message');
    child.send(message);
    return (await answered)[0] as T;
  };
  try {
    const [{ port }] = (await once(child, 'message')) as [{ port: number }];
    let serial = 0;
    const upload = async (bytes: number) => {
      const boundary = 'memory-test-boundary';
      const { status } = await ask(port, {
        method: 'POST',
        path: '/dicom-web/studies',
        version,
        headers: { 'content-type': `multipart/related; type="application/dicom"; boundary=${boundary}` },
        body: hugeInstance(bytes, boundary, ++serial),
      });
      assert.equal(status, 200);
    };
    await upload(warmUpBytes);
    await sleep(500);
    const { rss: levelBytes } = await answer<{ rss: number }>('report');
    const results: UploadMemory[] = [];
    for (const bytes of sizes) {
      const began = performance.now();
      await upload(bytes);
      const bytesPerSecond = bytes / ((performance.now() - began) / 1000);
      const { peak } = await answer<{ peak: number }>('report');
      results.push({ version, bytes, levelBytes, growthBytes: peak - levelBytes, bytesPerSecond });
    }
    return results;
  } finally {
    const exited = once(child, 'exit');
    child.send('close');
    await exited;
  }
}
