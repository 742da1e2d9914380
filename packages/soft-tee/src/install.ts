/**
 * What must survive a restart: one file in the state directory, `install.json` (mode 0600, directory 0700), version 1.
 * It lies outside the server's data directory, as a platform's fuses lie outside its disk.
 */
import { hkdfSync, randomBytes, randomUUID } from 'node:crypto';
import { chmod, mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Derive, openPki, type Pki, type PkiPem, pem } from './pki.ts';

interface InstallFile {
  version: 1;
  /** 32 random bytes, hex. All keys follow from them. */
  seed: string;
  /** 20 bytes, hex. That of the first compose, then pinned as dstack does over upgrades: keys depend on it. */
  appId: string;
  certificates: PkiPem;
}

export interface Install {
  appId: Buffer<ArrayBuffer>;
  derive: Derive;
  pki: Pki;
}

const deriveFrom =
  (seed: Uint8Array): Derive =>
  (label, length) =>
    Buffer.from(hkdfSync('sha256', seed, 'abaton-soft-tee-v1', label, length));

/** Durable on return, or not there at all: temporary file, fsync, rename, fsync of the folder. */
export async function writeAtomic(path: string, text: string): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  const file = await open(temporary, 'wx', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  const folder = await open(dirname(path));
  await folder.sync().finally(() => folder.close());
}

/** Opens the installation in `dir`, or makes it. Throws when the file there is not of version 1. */
export async function openInstall(dir: string, composeHash: Buffer): Promise<Install> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  await chmod(dir, 0o700);
  const path = join(dir, 'install.json');
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (text !== null) {
    const file = JSON.parse(text) as InstallFile;
    if (file.version !== 1) throw new Error(`${path} is not of version 1: use the release that wrote it`);
    const derive = deriveFrom(Buffer.from(file.seed, 'hex'));
    return { appId: Buffer.from(file.appId, 'hex'), derive, pki: await openPki(derive, file.certificates) };
  }
  const seed = randomBytes(32);
  const appId = Buffer.from(composeHash.subarray(0, 20)); // dstack: the default app id
  const derive = deriveFrom(seed);
  const pki = await openPki(derive);
  const certificates: PkiPem = {
    root: pem(pki.root.certificate),
    pckCa: pem(pki.pckCa.certificate),
    pck: pem(pki.pck.certificate),
    tcbSigning: pem(pki.tcbSigning.certificate),
  };
  const file: InstallFile = { version: 1, seed: seed.toString('hex'), appId: appId.toString('hex'), certificates };
  await writeAtomic(path, `${JSON.stringify(file, null, 2)}\n`);
  return { appId, derive, pki };
}
