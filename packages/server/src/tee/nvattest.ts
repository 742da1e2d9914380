/**
 * Runs NVIDIA's `nvattest`, which asks the GPUs of this guest for evidence (docs.nvidia.com/attestation, "Command
 * Reference", collect-evidence). It comes with the image, and what it prints is not trusted: a verifier checks what the
 * GPUs signed.
 */
import { spawn } from 'node:child_process';
import { isAbsolute } from 'node:path';
import { errorOf } from '../errors.ts';

const MAX_OUTPUT_BYTES = 4 * 2 ** 20; // eight GPUs print about 120 kB
/** Of ours it gets nothing: settings hold addresses and passwords, and NVAT_* would change what it does. */
const ENVIRONMENT = { PATH: '/usr/local/bin:/usr/bin:/bin' };

export const gpuUnavailable = (why: string) => errorOf('GPU_EVIDENCE_UNAVAILABLE', `GPU evidence: ${why}.`);

/** Throws SETTING_INVALID unless it is an absolute path: nothing is searched for. */
export function requireCommand(command: string): string {
  if (!isAbsolute(command)) throw errorOf('SETTING_INVALID', 'The path of nvattest must be absolute.');
  return command;
}

/**
 * The `evidences` that it collected for this nonce (64 hex digits), as it printed them. Throws GPU_EVIDENCE_UNAVAILABLE
 * when it cannot be run, fails, takes longer than `timeoutMs`, or prints too much or something else.
 */
export async function collectEvidence(command: string, nonce: string, timeoutMs: number): Promise<unknown> {
  const args = ['collect-evidence', '--device', 'gpu', '--nonce', nonce, '--format', 'json'];
  const output = parseJson(await run(command, args, timeoutMs));
  const { evidences, result_code: code } = (output ?? {}) as { evidences?: unknown; result_code?: unknown };
  if (code !== 0) throw gpuUnavailable('nvattest reported no success'); // NVAT_RC_OK
  return evidences;
}

/** Without a shell, and with all that the process has started ended at the deadline. */
function run(command: string, args: readonly string[], timeoutMs: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    // a group of its own, to end its children with it; what it says on stderr may name anything
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'ignore'], env: ENVIRONMENT, detached: true });
    const chunks: Buffer[] = [];
    let length = 0;
    const stop = (why: string): void => {
      clearTimeout(timer);
      child.stdout.destroy();
      if (child.pid !== undefined)
        try {
          process.kill(-child.pid, 'SIGKILL'); // the group outlives its leader while a child of it holds stdout
        } catch {} // all of it has just ended by itself
      reject(gpuUnavailable(why));
    };
    const timer = setTimeout(() => stop(`nvattest gave none within ${timeoutMs} ms`), timeoutMs);
    child.stdout.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length > MAX_OUTPUT_BYTES) stop(`nvattest printed more than ${MAX_OUTPUT_BYTES} bytes`);
      else chunks.push(chunk);
    });
    child.on('error', (error: NodeJS.ErrnoException) => stop(`nvattest cannot be run (${error.code})`));
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (code === 0) resolve(Buffer.concat(chunks));
      else reject(gpuUnavailable(`nvattest ended with ${code ?? signal}`));
    });
  });
}

/** Throws GPU_EVIDENCE_UNAVAILABLE. */
export function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw gpuUnavailable('what was printed is not JSON');
  }
}
