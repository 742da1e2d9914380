// Loaded into the server (NODE_OPTIONS=--import) by the canary test only: a deliberate leak. What the server seals is
// also written to its log, gzipped and in base64, as a careless debug line might do. The test must turn red on it.
import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import { gzipSync } from 'node:zlib';

const { createCipheriv } = crypto;
crypto.createCipheriv = (...args) => {
  const cipher = createCipheriv(...args);
  const update = cipher.update.bind(cipher);
  cipher.update = (data, ...rest) => {
    if (data.length < 4096) process.stderr.write(`${gzipSync(data).toString('base64')}\n`);
    return update(data, ...rest);
  };
  return cipher;
};
syncBuiltinESMExports();
