/**
 * The only reader of the environment. Each setting: name, kind (with its unit), default, and the failure that it
 * prevents. `docs/reference/config.md` is generated from this table (`scripts/docs.ts`).
 */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { errorOf } from './errors.ts';

type Kind = 'text' | 'path' | 'urls' | 'port' | 'ms' | 'bytes' | 'count' | 'sha256' | readonly string[];

interface Setting {
  env: string;
  kind: Kind;
  /** Null: unset. */
  default: string | number | null;
  prevents: string;
}

const MiB = 2 ** 20;

/** $XDG_DATA_HOME or its default (XDG Base Directory Specification 0.8); never the checkout. */
const userDataDir = (env: NodeJS.ProcessEnv): string =>
  join(env.XDG_DATA_HOME || join(homedir(), '.local', 'share'), 'abaton');

export const SETTINGS = {
  dataDir: {
    env: 'ABATON_DATA_DIR',
    kind: 'path',
    default: '$XDG_DATA_HOME/abaton',
    prevents: 'State in a place that is lost with the container or with the checkout.',
  },
  databaseUrl: {
    env: 'DATABASE_URL',
    kind: 'text',
    default: null,
    prevents:
      'Rows and jobs on one machine: `postgres://user:password@host/database`; unset, SQLite in the data directory.',
  },
  blobsUrl: {
    env: 'BLOBS_URL',
    kind: 'text',
    default: null,
    prevents:
      'Objects and audit log on one machine: S3, `https://KEY:SECRET@host/bucket/prefix?region=…`; unset, the data directory.',
  },
  host: {
    env: 'ABATON_HOST',
    kind: 'text',
    default: '127.0.0.1',
    prevents: 'A development server that the whole network can reach.',
  },
  port: {
    env: 'ABATON_PORT',
    kind: 'port',
    default: 8443,
    prevents: 'A clash with another service. 0 takes a free port and prints it.',
  },
  mode: {
    env: 'ABATON_MODE',
    kind: ['no-phi', 'synthetic', 'phi'],
    default: 'synthetic',
    prevents: 'More data in than was meant: this requests a mode, it never grants one.',
  },
  manifestFile: {
    env: 'ABATON_MANIFEST',
    kind: 'path',
    default: '<checkout>/abaton.yaml',
    prevents: 'A deployment that differs from the manifest whose digest is in the evidence.',
  },
  modelsDir: {
    env: 'ABATON_MODELS_DIR',
    kind: 'path',
    default: '<checkout>/models',
    prevents: 'Models that are not those of the registry digest in the evidence.',
  },
  tenant: {
    env: 'ABATON_TENANT',
    kind: 'text',
    default: 'default',
    prevents: 'Two hospitals with the same patient id sharing a key.',
  },
  agentSocket: {
    env: 'DSTACK_SIMULATOR_ENDPOINT',
    kind: 'path',
    default: null,
    prevents:
      'A guest agent that is not found: path of its socket, or http:// on loopback; unset, those of dstack in their order.',
  },
  nvattest: {
    env: 'ABATON_NVATTEST',
    kind: 'path',
    default: null,
    prevents: 'GPU evidence from a tool that was not meant; unset, the guest agent (dstack 0.6) is asked.',
  },
  pccsUrl: {
    env: 'PCCS_URL',
    kind: 'urls',
    default: null,
    prevents: 'Evidence without collateral, which no verifier can accept. Several, separated by commas: asked in turn.',
  },
  simulatedRootSha256: {
    env: 'ABATON_SIMULATED_ROOT_SHA256',
    kind: 'sha256',
    default: null,
    prevents: 'A software TEE that is trusted without being named. It never changes the label `simulated`.',
  },
  attestationIntervalMs: {
    env: 'ABATON_ATTESTATION_INTERVAL_MS',
    kind: 'ms',
    default: 300_000,
    prevents: 'A door that stays open after the platform was revoked. Larger than the default is refused.',
  },
  domain: {
    env: 'ABATON_DOMAIN',
    kind: 'text',
    default: null,
    prevents:
      'Browsers that know no certificate of ours: with a DNS name, /.well-known/abaton/domain.csr can be certified.',
  },
  domainCertificate: {
    env: 'ABATON_DOMAIN_CERTIFICATE',
    kind: 'path',
    default: null,
    prevents: 'A certificate for a key outside the TEE: the chain for ABATON_DOMAIN, PEM; read again when it changes.',
  },
  smtpUrl: {
    env: 'ABATON_SMTP_URL',
    kind: 'text',
    default: null,
    prevents:
      'Security contacts with a `mailto:` address who hear of nothing: `smtps://user:password@host:465`, or `smtp://…:587`.',
  },
  smtpFrom: {
    env: 'ABATON_SMTP_FROM',
    kind: 'text',
    default: null,
    prevents: 'Alerts that a mail server refuses: the address that they come from.',
  },
  studyIdleMs: {
    env: 'ABATON_STUDY_IDLE_MS',
    kind: 'ms',
    default: 500,
    prevents: 'An analysis of half a study that is still being sent.',
  },
  maxInstanceBytes: {
    env: 'ABATON_MAX_INSTANCE_BYTES',
    kind: 'bytes',
    default: 4096 * MiB,
    prevents: 'A disk filled by one endless instance.',
  },
  maxHeaderBytes: {
    env: 'ABATON_MAX_HEADER_BYTES',
    kind: 'bytes',
    default: 16 * MiB,
    prevents: 'Memory filled by a header that never reaches its pixel data.',
  },
  maxConcurrentUploads: {
    env: 'ABATON_MAX_CONCURRENT_UPLOADS',
    kind: 'count',
    default: 16,
    prevents: 'Memory filled by many uploads at once.',
  },
  modelTimeMs: {
    env: 'ABATON_MODEL_TIME_MS',
    kind: 'ms',
    default: 30_000,
    prevents: 'A hanging decoder or model that holds the queue.',
  },
  modelMemoryBytes: {
    env: 'ABATON_MODEL_MEMORY_BYTES',
    kind: 'bytes',
    default: 1024 * MiB,
    prevents: 'A model process that takes the machine with it.',
  },
  modelStudiesPerProcess: {
    env: 'ABATON_MODEL_STUDIES_PER_PROCESS',
    kind: 'count',
    default: 50,
    prevents: 'State of a compromised model process that outlives many patients; 1 gives each study its own process.',
  },
  modelProcesses: {
    env: 'ABATON_MODEL_PROCESSES',
    kind: 'count',
    default: 1,
    prevents: 'More studies at once than there are cores and memory for.',
  },
  killAt: {
    env: 'ABATON_KILL_AT',
    kind: 'text',
    default: null,
    prevents: 'A crash at a place that no test has tried: for tests, the process kills itself at that durable step.',
  },
  jobAttempts: {
    env: 'ABATON_JOB_ATTEMPTS',
    kind: 'count',
    default: 3,
    prevents: 'A study that crashes its worker for ever.',
  },
} as const satisfies Record<string, Setting>;

type Value<K> = K extends 'port' | 'ms' | 'bytes' | 'count' ? number : K extends readonly (infer U)[] ? U : string;
export type Config = {
  [N in keyof typeof SETTINGS]: (typeof SETTINGS)[N]['default'] extends null
    ? Value<(typeof SETTINGS)[N]['kind']> | null
    : Value<(typeof SETTINGS)[N]['kind']>;
};

/** Reads and checks every setting. Throws SETTING_INVALID, naming the variable and what it must be. */
export function loadConfig(env: NodeJS.ProcessEnv = process.env): Config {
  const checkout = fileURLToPath(new URL('../../..', import.meta.url));
  const config: Record<string, string | number | null> = {};
  for (const [name, setting] of Object.entries<Setting>(SETTINGS)) {
    const text = env[setting.env];
    if (text === undefined || text === '') {
      config[name] =
        typeof setting.default === 'string'
          ? setting.default.replace('$XDG_DATA_HOME/abaton', userDataDir(env)).replace('<checkout>/', checkout)
          : setting.default;
    } else config[name] = parseSetting(setting, text);
  }
  const { attestationIntervalMs } = config as Config;
  if (attestationIntervalMs > SETTINGS.attestationIntervalMs.default)
    throw errorOf(
      'SETTING_INVALID',
      `ABATON_ATTESTATION_INTERVAL_MS must be at most ${SETTINGS.attestationIntervalMs.default}.`,
    );
  return config as Config;
}

function parseSetting({ env, kind }: Setting, text: string): string | number {
  const refuse = (expected: string): never => {
    throw errorOf('SETTING_INVALID', `${env} must be ${expected}.`);
  };
  if (typeof kind !== 'string') return kind.includes(text) ? text : refuse(`one of ${kind.join(', ')}`);
  switch (kind) {
    case 'text':
    case 'path':
      return text;
    case 'urls': {
      const urls = text.split(',').map((url) => url.trim());
      return urls.every((url) => URL.canParse(url)) ? urls.join(',') : refuse('a URL, or several separated by commas');
    }
    case 'sha256':
      return /^(sha256:)?[0-9a-f]{64}$/.test(text) ? text.replace('sha256:', '') : refuse('64 hex digits');
    case 'port':
      return /^\d{1,5}$/.test(text) && Number(text) < 65536 ? Number(text) : refuse('a port number from 0 to 65535');
    default:
      return /^[1-9]\d{0,14}$/.test(text) ? Number(text) : refuse(`a positive whole number (${kind})`);
  }
}
