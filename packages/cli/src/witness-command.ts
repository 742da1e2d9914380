/** `abaton witness`: cosigns what a log shows while it continues what was cosigned before, until SIGTERM or SIGINT. */
import { makeWitnessKey, parseListen, startWitness, type WitnessOptions } from '@abaton/gateway';
import { ConfigurationError } from '@abaton/verify';
import { EXIT } from './exit.ts';
import { readText } from './read-file.ts';
import { untilSignal } from './until-signal.ts';

interface WitnessFlags {
  key?: string;
  dataDir?: string;
  log?: string[];
  listen?: string;
  tlsCert?: string;
  tlsKey?: string;
  url?: string[];
  new?: boolean;
}

/** Makes the key file, and prints the verifier keys for the manifest: Ed25519, ML-DSA-44. */
export async function runWitnessKey(file: string, { name }: { name: string }): Promise<number> {
  const vkeys = await makeWitnessKey(file, name);
  process.stdout.write(vkeys.map((vkey) => `${vkey}\n`).join(''));
  return EXIT.ok;
}

/** Prints one line of JSON when it is ready, and ends the process at a signal. Its log goes to standard error. */
export async function runWitness(flags: WitnessFlags): Promise<never> {
  process.umask(0o077);
  const stopping = untilSignal();
  const options = readWitnessFlags(flags);
  const witness = await startWitness(options);
  const { host, tls } = options.listen ?? { host: '', tls: null };
  const authority = `${host.includes(':') ? `[${host}]` : host}:${witness.port}`;
  const url = witness.port === null ? null : `${tls ? 'https' : 'http'}://${authority}`;
  process.stdout.write(`${JSON.stringify({ url, visits: options.urls, vkeys: witness.vkeys, pid: process.pid })}\n`);
  await stopping;
  await witness.close();
  process.exit(EXIT.ok);
}

/** Throws USAGE or LISTEN_REFUSED. */
function readWitnessFlags(flags: WitnessFlags): WitnessOptions {
  const { key, dataDir, log = [], listen, tlsCert, tlsKey, url = [] } = flags;
  const usage = (why: string) => new ConfigurationError('USAGE', why);
  if (key === undefined || dataDir === undefined || log.length === 0)
    throw usage('A witness needs --key, --data-dir and --log.');
  if (listen === undefined && url.length === 0)
    throw usage('Give --listen for logs that come here, --url for servers to visit, or both.');
  if ((tlsCert === undefined) !== (tlsKey === undefined)) throw usage('--tls-cert and --tls-key belong together.');
  const tls = tlsCert !== undefined && tlsKey !== undefined ? { cert: readText(tlsCert), key: readText(tlsKey) } : null;
  return {
    ...{ keyFile: key, dataDir, isNew: flags.new ?? false, logs: log, urls: url },
    listen: listen === undefined ? null : { ...parseListen(listen), tls },
  };
}
