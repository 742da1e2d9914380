/** `abaton gateway`: the hospital's end of the proof, on the hospital's own machine, until SIGTERM or SIGINT. */
import { type GatewayOptions, INTERVAL_MS, parseListen, startGateway } from '@abaton/gateway';
import { ConfigurationError } from '@abaton/verify';
import { EXIT } from './exit.ts';
import { requireOfficers } from './keyholder-command.ts';
import { readText } from './read-file.ts';
import { readTrust, requireHttps, type TrustFlags } from './trust-options.ts';
import { untilSignal } from './until-signal.ts';

interface GatewayFlags extends TrustFlags {
  url: string;
  listen: string;
  dataDir: string;
  interval?: string;
  maxQueueBytes?: string;
  tlsCert?: string;
  tlsKey?: string;
  witnessKey?: string;
  witnessNew?: boolean;
  keyholderDir?: string;
  keyholderKey?: string;
  keyholderSubject?: string;
}

/** Prints one line of JSON when it listens, and ends the process at a signal. Its log goes to standard error. */
export async function runGateway(flags: GatewayFlags): Promise<never> {
  process.umask(0o077); // what is queued is for this user alone
  const stopping = untilSignal();
  const { host, ...options } = readGatewayFlags(flags);
  const gateway = await startGateway({ host, ...options });
  const authority = `${host.includes(':') ? `[${host}]` : host}:${gateway.port}`;
  const url = `${options.tls ? 'https' : 'http'}://${authority}`;
  process.stdout.write(`${JSON.stringify({ url, service: flags.url, pid: process.pid })}\n`);
  await stopping;
  await gateway.close();
  process.exit(EXIT.ok); // a verification that is under way cannot be called off, and may take 40 s
}

/** Throws USAGE, POLICY_INVALID, POLICY_UNSIGNED or LISTEN_REFUSED. */
function readGatewayFlags(flags: GatewayFlags): GatewayOptions {
  const { url, listen, dataDir, interval, maxQueueBytes, tlsCert, tlsKey, witnessKey, witnessNew = false } = flags;
  requireHttps(url);
  if ((tlsCert === undefined) !== (tlsKey === undefined))
    throw new ConfigurationError('USAGE', '--tls-cert and --tls-key belong together.');
  if (witnessNew && witnessKey === undefined)
    throw new ConfigurationError('USAGE', '--witness-new belongs to --witness-key.');
  return {
    ...readKeyholder(flags),
    trust: readTrust(url, flags),
    ...parseListen(listen),
    dataDir,
    ...(interval !== undefined && { intervalMs: parseInterval(interval) }),
    ...(maxQueueBytes !== undefined && { maxQueueBytes: parseBytes(maxQueueBytes) }),
    ...(witnessKey !== undefined && { witness: { keyFile: witnessKey, isNew: witnessNew } }),
    ...(tlsCert !== undefined && tlsKey !== undefined && { tls: { cert: readText(tlsCert), key: readText(tlsKey) } }),
  };
}

function readKeyholder(flags: GatewayFlags): Pick<GatewayOptions, 'keyholder'> {
  const { keyholderDir: dir, keyholderKey: keyFile, keyholderSubject: subject } = flags;
  if (dir === undefined && keyFile === undefined && subject === undefined) return {};
  if (dir === undefined || keyFile === undefined)
    throw new ConfigurationError('USAGE', '--keyholder-dir and --keyholder-key belong together.');
  requireOfficers(flags);
  return { keyholder: { dir, keyFile, ...(subject !== undefined && { subject }) } };
}

const UNITS_MS = { ms: 1, s: 1000, m: 60_000 } as const;

const MIN_INTERVAL_MS = 1_000; // a quote takes tens of milliseconds of the server, and others want theirs

/** Shorter than the default is allowed, longer is not: a revoked platform has to be found within it. */
function parseInterval(text: string): number {
  const [, number, unit] = /^([1-9]\d{0,6})(ms|s|m)$/.exec(text) ?? [];
  const ms = Number(number) * (UNITS_MS[unit as keyof typeof UNITS_MS] ?? Number.NaN);
  if (!(ms >= MIN_INTERVAL_MS && ms <= INTERVAL_MS))
    throw new ConfigurationError('USAGE', `--interval must be a time such as 60s, from 1s to ${INTERVAL_MS / 1000}s.`);
  return ms;
}

function parseBytes(text: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text))
    throw new ConfigurationError('USAGE', '--max-queue-bytes must be a positive whole number.');
  return Number(text);
}
