/** The software TEE: for development and tests only, and simulated in every word it signs. */
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { AGENT_VERSIONS, type AgentVersion, agentListener } from './agent.ts';
import { TCB_EVALUATION_DATA_NUMBER } from './collateral.ts';
import { hash } from './event-log.ts';
import { conditionsOf, FAULTS, type FaultName, NO_FAULT, parseFault } from './faults.ts';
import {
  closeServer,
  jsonAnswer,
  listener,
  listenLoopback,
  listenUnix,
  orRefuse,
  parseObject,
  RequestError,
  readBody,
} from './http.ts';
import { openInstall, writeAtomic } from './install.ts';
import { pccsListener } from './pccs.ts';
import { bootPlatform, osMeasurement, parseAppName } from './platform.ts';

export { AGENT_VERSIONS, type AgentVersion, FAULTS, type FaultName };

export interface SoftTeeOptions {
  /** Directory of what must survive a restart; never inside the server's data directory. */
  state: string;
  /** Path of the agent's unix socket. */
  socket: string;
  /** Raw text of app-compose.json: its SHA-256 is the code hash. */
  compose: string;
  fault?: FaultName | null;
  /** Whose methods the agent has; default 0.6. */
  agentVersion?: AgentVersion;
  /** What the agent shows as nvattest's record of the boot, verbatim; default null: no GPU. */
  gpuRecord?: string | null;
  /** Default 0: a free port. */
  pccsPort?: number;
  /** Path of a unix socket that takes `POST /fault {"name": …}`. */
  control?: string;
}

export interface SoftTee {
  socket: string;
  pccsUrl: string;
  /** Of the root certificate of the installation, 64 hex digits. */
  rootSha256: string;
  rootDer: Buffer;
  /** `sha256:` and 64 hex digits, of the given compose. */
  codeHash: string;
  policy: ReturnType<typeof referencePolicy>;
  policyFile: string;
  /** Resolves when the next answer is given under the fault. Throws TypeError for an unknown name. */
  setFault(name: FaultName | null): Promise<void>;
  close(): Promise<void>;
}

/** What a verifier may demand of this machine: the JSON of `@abaton/verify`'s Policy, which this package must not know. */
const referencePolicy = (codeHash: string) => ({
  version: 1 as const,
  codeHashes: [codeHash],
  osMeasurements: [osMeasurement(NO_FAULT.kernelCommandLine)],
  manifestSha256: null,
  policySha256: null,
  modelRegistrySha256: null,
  minTcbEvaluationDataNumber: TCB_EVALUATION_DATA_NUMBER,
});

const controlListener = (setFault: SoftTee['setFault']) =>
  listener(async (request) => {
    if (request.method !== 'POST' || request.url !== '/fault') throw new RequestError(404, 'Only POST /fault');
    const { name } = parseObject(await readBody(request));
    const fault = orRefuse(() => parseFault(name));
    await setFault(fault);
    return jsonAnswer({ name: fault });
  });

/** Opens or makes the installation, boots the machine and serves. Throws when a socket is taken or the compose is bad. */
export async function startSoftTee(options: SoftTeeOptions): Promise<SoftTee> {
  parseAppName(options.compose);
  const composeHash = hash('sha256', options.compose);
  const codeHash = `sha256:${composeHash.toString('hex')}`;
  const install = await openInstall(options.state, composeHash);
  const { gpuRecord = null, agentVersion = '0.6' } = options;
  const boot = (fault: FaultName | null) => bootPlatform(install, options.compose, conditionsOf(fault), gpuRecord);
  let platform = await boot(parseFault(options.fault ?? null));
  let booting: Promise<void> = Promise.resolve();
  const setFault = async (name: FaultName | null): Promise<void> => {
    const fault = parseFault(name);
    booting = booting.then(async () => {
      platform = await boot(fault);
    });
    await booting;
  };

  const policy = referencePolicy(codeHash);
  const policyFile = join(options.state, 'policy.json');
  await writeAtomic(policyFile, `${JSON.stringify(policy, null, 2)}\n`);
  const servers: Server[] = [];
  const close = async () => {
    await Promise.all(servers.map(closeServer));
  };
  try {
    const agent = agentListener(() => platform, agentVersion);
    const pccs = pccsListener(() => platform.collateral());
    servers.push(await listenUnix(agent, options.socket), await listenLoopback(pccs, options.pccsPort ?? 0));
    if (options.control !== undefined) servers.push(await listenUnix(controlListener(setFault), options.control));
  } catch (error) {
    await close();
    throw error;
  }
  const rootDer = Buffer.from(install.pki.root.certificate.rawData);
  return {
    socket: options.socket,
    pccsUrl: `http://127.0.0.1:${(servers[1]!.address() as AddressInfo).port}`,
    rootSha256: hash('sha256', rootDer).toString('hex'),
    rootDer,
    codeHash,
    policy,
    policyFile,
    setFault,
    close,
  };
}
