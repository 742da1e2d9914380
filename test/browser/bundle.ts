/** Bundles for browsers: minified, without what is not used, as an application that depends on the package would. */
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'rolldown';

/** JavaScript, one ECMAScript module. */
export async function bundle(entry: URL): Promise<string> {
  const { output } = await build({
    input: fileURLToPath(entry),
    platform: 'browser',
    output: { format: 'esm', minify: true },
    write: false,
  });
  if (output.length !== 1) throw new Error(`one file expected, ${output.length} built`);
  return output[0].code;
}

/** What all exports of `packages/verify` weigh in a page, @noble included, in bytes. */
export async function verifierSize(): Promise<{ minifiedBytes: number; gzipBytes: number }> {
  const code = await bundle(new URL('../../packages/verify/src/index.ts', import.meta.url));
  return { minifiedBytes: Buffer.byteLength(code), gzipBytes: gzipSync(code, { level: 9 }).length };
}
