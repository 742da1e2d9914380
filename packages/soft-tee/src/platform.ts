/** One boot of the simulated machine under given conditions: what it measured, what it shows, and its collateral. */
import { secp256k1 } from '@noble/curves/secp256k1.js';
import { type Collateral, issueCollateral } from './collateral.ts';
import { bootEvents, extendRtmrs, hash, measurementOf, runtimeEvents, type TdxEvent } from './event-log.ts';
import type { Conditions } from './faults.ts';
import type { Install } from './install.ts';
import { createKms, type Kms } from './kms.ts';
import { type Identity, issue, openPki, p256KeyPair, ppidOf } from './pki.ts';
import { bootQuotingEnclave, type TrustDomain } from './quote.ts';

export interface Platform {
  conditions: Conditions;
  appId: Buffer<ArrayBuffer>;
  /** As shown; it replays to the registers of the quote, unless it is forged. */
  eventLog: TdxEvent[];
  /** JSON text */
  vmConfig: string;
  /** The answer of the agent's Info, but for the certificate. */
  info: Record<string, string>;
  /** What nvattest would have written at boot; null: no GPU. Nothing measures it here. */
  gpuRecord: string | null;
  kms: Kms;
  /** Issues the app's TLS certificates; its key follows from the installation and the app id. */
  appCa: Identity;
  /** A quote over 64 bytes. */
  quote(reportData: Buffer): Promise<Buffer<ArrayBuffer>>;
  /** Issued at boot, and anew long before it expires. */
  collateral(): Promise<Collateral>;
}

const OS_IMAGE_HASH = hash('sha256', measurementOf('OS image')).toString('hex');
/** The one VM shape: RTMR0 would change with it. */
const VM_CONFIG = { spec_version: 1, os_image_hash: OS_IMAGE_HASH, cpu_count: 2, memory_size: 2 ** 31 };
const MRTD = measurementOf('firmware');
/** dstack takes no larger app-compose. */
const MAX_COMPOSE_BYTES = 256 * 1024;

/** MRTD and RTMR0-2 of the simulated OS image, hex, as a verifier lists them. */
export function osMeasurement(kernelCommandLine: string) {
  const [rtmr0, rtmr1, rtmr2] = extendRtmrs(bootEvents(kernelCommandLine)).map((rtmr) => rtmr.toString('hex'));
  const name = `SIMULATED OS image, ${VM_CONFIG.cpu_count} vCPU`;
  return { name, mrtd: MRTD.toString('hex'), rtmr0: rtmr0!, rtmr1: rtmr1!, rtmr2: rtmr2! };
}

/** The app's name. Throws TypeError unless the text is a JSON object with a name, 256 KB at most. */
export function parseAppName(appCompose: string): string {
  if (Buffer.byteLength(appCompose) > MAX_COMPOSE_BYTES) throw new TypeError('app-compose has more than 256 KB');
  let compose: { name?: unknown } | null = null;
  try {
    compose = JSON.parse(appCompose);
  } catch {
    throw new TypeError('app-compose is not JSON');
  }
  if (typeof compose?.name !== 'string') throw new TypeError('app-compose has no name');
  return compose.name;
}

/** A program that nobody allowed: the same file, with another service. */
const otherProgram = (appCompose: string): string =>
  JSON.stringify({ ...JSON.parse(appCompose), docker_compose_file: 'services: { other: { image: other } }' });

/** Boots the machine. `appCompose` is the given program; its raw text is hashed, as dstack does. */
export async function bootPlatform(
  install: Install,
  appCompose: string,
  conditions: Conditions,
  gpuRecord: string | null,
): Promise<Platform> {
  const { appId, derive } = install;
  const program = (which: 'given' | 'other') => (which === 'given' ? appCompose : otherProgram(appCompose));
  const shown = program(conditions.shown);
  const shownHash = hash('sha256', shown);
  const kms = createKms(secp256k1.utils.randomSecretKey(derive('kms-root', 48)), appId);
  const instanceId = derive('instance-id', 20);
  const keyProvider = JSON.stringify({ name: 'simulated', id: kms.rootPublicKey.toString('hex') });
  const measuredLog = [
    ...bootEvents(conditions.kernelCommandLine),
    ...runtimeEvents([
      ['system-preparing', Buffer.alloc(0)],
      ['app-id', appId],
      ['compose-hash', hash('sha256', program(conditions.measured))],
      ['instance-id', instanceId],
      ['boot-mr-done', Buffer.alloc(0)],
      ['key-provider', Buffer.from(keyProvider)],
      ['storage-fs', Buffer.from('ext4')],
      ['system-ready', Buffer.alloc(0)],
    ]),
  ];
  const eventLog = measuredLog.map((event) =>
    event.event === 'compose-hash' ? { ...event, event_payload: shownHash.toString('hex') } : event,
  );
  const trustDomain: TrustDomain = {
    mrtd: MRTD,
    mrConfigId: Buffer.concat([Buffer.from([1]), shownHash, Buffer.alloc(15)]), // V1: 0x01 ‖ compose hash
    rtmrs: extendRtmrs(measuredLog),
    debug: conditions.debug,
  };
  const { mrtd, rtmrs, mrConfigId } = trustDomain;
  const [rtmr0, rtmr1, rtmr2, rtmr3] = rtmrs.map((rtmr) => rtmr.toString('hex'));
  const identity = {
    device_id: hash('sha256', ppidOf(derive)).toString('hex'),
    // MRCONFIGID is not zero, so it counts, and MROWNER and MROWNERCONFIG with it.
    mr_aggregated: hash('sha256', mrtd, ...rtmrs, mrConfigId, Buffer.alloc(96)).toString('hex'),
    os_image_hash: OS_IMAGE_HASH,
    compose_hash: shownHash.toString('hex'),
  };
  const measured = { mrtd: mrtd.toString('hex'), rtmr0, rtmr1, rtmr2, rtmr3 };
  const vmConfig = JSON.stringify(VM_CONFIG);
  const info = {
    ...identity,
    app_id: appId.toString('hex'),
    instance_id: instanceId.toString('hex'),
    app_name: parseAppName(shown),
    tcb_info: JSON.stringify({ ...measured, ...identity, event_log: eventLog, app_compose: shown }),
    key_provider_info: keyProvider,
    vm_config: vmConfig,
    cloud_vendor: 'SIMULATED',
    cloud_product: '',
  };
  const pki = conditions.root === 'install' ? install.pki : await openPki((label, n) => derive(`other:${label}`, n));
  const quote = await bootQuotingEnclave(derive('qe-id', 16), pki);
  let collateral = await issueCollateral(pki, conditions, new Date());
  const caKeys = await p256KeyPair(derive(`app-ca:${info.app_id}`, 48));
  const appCa = { keys: caKeys, certificate: await issue('Dstack App CA (SIMULATED)', caKeys, null, { ca: true }) };
  return {
    conditions,
    appId,
    eventLog,
    vmConfig,
    info,
    gpuRecord,
    kms,
    appCa,
    quote: (reportData) => quote(trustDomain, reportData),
    async collateral() {
      if (new Date() >= collateral.renewAt) collateral = await issueCollateral(pki, conditions, new Date());
      return collateral;
    },
  };
}
