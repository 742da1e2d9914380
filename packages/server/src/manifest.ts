/**
 * `abaton.yaml`, the deployment manifest. It states what is requested; it proves nothing by itself. Its SHA-256 (over
 * the raw bytes) is in the evidence, and a hospital pins it. The schema below is docs/reference/abaton.schema.json.
 */
import { createHash } from 'node:crypto';
import { urlToHttpOptions } from 'node:url';
import Type, { type Static } from 'typebox';
import { Value } from 'typebox/value';
import { type Document, LineCounter, parseDocument } from 'yaml';
import { errorOf } from './errors.ts';

const MAX_MANIFEST_BYTES = 64 * 1024; // a manifest is a page of text; more is a mistake or an attack on the parser

const strict = { additionalProperties: false };
const oneOf = (...values: string[]) => values.map((value) => Type.Literal(value));
const text = (description: string) => Type.String({ minLength: 1, maxLength: 200, description });
/** Cosignatures vouch for themselves; http: only where nothing can listen in on who asks. */
const WITNESS_URL = '^(https://\\S+|http://(127\\.0\\.0\\.1|localhost|\\[::1\\])(:\\d+)?(/\\S*)?)$';
const VKEY = '^[^\\s+]+\\+[0-9a-f]{8}\\+[A-Za-z0-9+/]+={0,2}$'; // C2SP signed-note, "Verifier keys"

/** What the pattern takes and no request can be made of: `https://hook.example:99999/`, `https://%zz@hook.example/`. */
function isUsableUrl(text: string): boolean {
  try {
    urlToHttpOptions(new URL(text));
    return true;
  } catch {
    return false;
  }
}

/** `description` is what the error message tells the reader to write. */
export const ManifestSchema = Type.Object(
  {
    app_name: Type.String({
      pattern: '^[a-z0-9]([a-z0-9-]{3,61})[a-z0-9]$',
      description: '5 to 63 lower-case letters, digits and hyphens, as in `hospital-radiology-ai`',
    }),
    deployment: Type.Union(oneOf('phala-cloud', 'dstack', 'kubernetes', 'local'), {
      description: 'one of phala-cloud, dstack, kubernetes, local',
    }),
    tee: Type.Object(
      {
        type: Type.Union(oneOf('intel-tdx', 'amd-sev-snp'), { description: 'one of intel-tdx, amd-sev-snp' }),
        gpu: Type.Optional(Type.Union(oneOf('nvidia-h100', 'none'), { description: 'one of nvidia-h100, none' })),
      },
      { ...strict, description: 'a map with `type` and, if a GPU is attested, `gpu`' },
    ),
    models: Type.Array(
      Type.String({
        pattern: '^[a-z0-9][a-z0-9-]{0,62}$',
        description: 'the id of a model package, as in `chest-xray-ai`',
      }),
      {
        minItems: 1,
        maxItems: 64,
        uniqueItems: true,
        description: 'a list of model ids, one `- id` a line',
      },
    ),
    sla: Type.Optional(
      Type.Object(
        {
          inference_latency: Type.Optional(
            Type.String({ pattern: '^<\\d+(\\.\\d+)?(ms|s) per study$', description: 'as in `<2s per study`' }),
          ),
          uptime: Type.Optional(Type.String({ pattern: '^\\d{2}(\\.\\d+)?%$', description: 'as in `99.9%`' })),
          phi_encryption: Type.Optional(Type.Literal('always', { description: '`always`: there is no other way' })),
        },
        { ...strict, description: 'a map with inference_latency, uptime, phi_encryption' },
      ),
    ),
    compliance: Type.Optional(
      Type.Object(
        {
          hipaa: Type.Optional(Type.Boolean({ description: 'true or false: whether HIPAA controls are requested' })),
          baa_signed: Type.Optional(
            Type.Boolean({ description: 'true or false: a claim that the signed BAA has to prove' }),
          ),
          attestation_public: Type.Optional(
            Type.Boolean({ description: 'true or false: whether reports are listed publicly' }),
          ),
        },
        { ...strict, description: 'a map with hipaa, baa_signed, attestation_public' },
      ),
    ),
    officers: Type.Optional(
      Type.Array(
        Type.Object(
          {
            name: text('the officer’s name'),
            role: Type.Union(oneOf('security-officer', 'privacy-officer', 'officer'), {
              description: 'one of security-officer, privacy-officer, officer',
            }),
            public_key: Type.String({ pattern: VKEY, description: 'a C2SP verifier key, `name+12345678+base64`' }),
          },
          { ...strict, description: 'a map with name, role, public_key' },
        ),
        { maxItems: 64, description: 'a list of officers' },
      ),
    ),
    security_contacts: Type.Optional(
      Type.Array(
        Type.Refine(
          Type.String({
            pattern: '^(mailto:[^@\\s]+@[^@\\s]+|https://\\S+)$',
            description: 'a mailto: address or an https: webhook',
          }),
          isUsableUrl,
        ),
        {
          maxItems: 16,
          description: 'a list of mailto: addresses and https: webhooks',
        },
      ),
    ),
    witnesses: Type.Optional(
      Type.Array(
        Type.Object(
          {
            url: Type.Optional(
              Type.String({
                pattern: WITNESS_URL,
                description: 'an https: URL, the submission prefix; without one the witness comes to the server',
              }),
            ),
            vkey: Type.String({ pattern: VKEY, description: 'a C2SP verifier key, `name+12345678+base64`' }),
          },
          { ...strict, description: 'a map with vkey and, if the server is to ask it, url' },
        ),
        { maxItems: 16, description: 'a list of witnesses' },
      ),
    ),
    witness_quorum: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 16,
        description: 'how many witnesses must cosign: more than half of them, which is the default',
      }),
    ),
    keyholder: Type.Optional(
      Type.Object(
        {
          vkey: Type.String({ pattern: VKEY, description: 'a C2SP verifier key, `name+12345678+base64`' }),
        },
        { ...strict, description: 'a map with vkey: the keyholder comes to the server' },
      ),
    ),
  },
  {
    ...strict,
    $id: 'urn:abaton:schema:manifest:1',
    title: 'Abaton deployment manifest',
    description: 'a map with app_name, deployment, tee, models',
  },
);

export interface Manifest {
  content: Static<typeof ManifestSchema>;
  /** SHA-256 of the raw file, hex: what the evidence binds. */
  sha256: string;
  /** The `compliance` flags, false where absent: requests, never facts. */
  requested: { hipaa: boolean; baaSigned: boolean; attestationPublic: boolean };
}

/** Reads a manifest. Throws MANIFEST_INVALID with every fault: line, where, what to write instead. */
export function parseManifest(raw: Uint8Array, fileName = 'abaton.yaml'): Manifest {
  if (raw.length > MAX_MANIFEST_BYTES)
    throw errorOf('MANIFEST_INVALID', `${fileName} is larger than ${MAX_MANIFEST_BYTES} bytes.`);
  const lines = new LineCounter();
  const document = parseDocument(decodeUtf8(raw, fileName), {
    lineCounter: lines,
    uniqueKeys: true,
    version: '1.2',
    schema: 'core',
    prettyErrors: false,
    logLevel: 'silent',
  });
  const faults = [...document.errors, ...document.warnings].map((fault) => ({
    line: lines.linePos(fault.pos[0]).line,
    message: fault.message.split('\n')[0] ?? '',
  }));
  // Aliases multiply (the "billion laughs"); a manifest of this size never needs one.
  const content: unknown = faults.length > 0 ? null : toPlain(document, fileName);
  if (faults.length === 0) {
    for (const error of leafErrors(content)) {
      faults.push({ line: lineOf(document, lines, error.path), message: error.message });
    }
  }
  if (faults.length > 0) {
    faults.sort((a, b) => a.line - b.line);
    throw errorOf('MANIFEST_INVALID', faults.map((fault) => `${fileName}:${fault.line}: ${fault.message}`).join('\n'));
  }
  const valid = content as Static<typeof ManifestSchema>;
  const {
    hipaa = false,
    baa_signed: baaSigned = false,
    attestation_public: attestationPublic = false,
  } = valid.compliance ?? {};
  return {
    content: valid,
    sha256: createHash('sha256').update(raw).digest('hex'),
    requested: { hipaa, baaSigned, attestationPublic },
  };
}

function decodeUtf8(raw: Uint8Array, fileName: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(raw);
  } catch (cause) {
    throw errorOf('MANIFEST_INVALID', `${fileName} is not UTF-8 text.`, { cause });
  }
}

function toPlain(document: Document, fileName: string): unknown {
  try {
    return document.toJS({ maxAliasCount: 0 });
  } catch (cause) {
    throw errorOf('MANIFEST_INVALID', `${fileName} uses aliases (*name); write the value out.`, { cause });
  }
}

interface Fault {
  path: string[];
  message: string;
}

/** One fault per place, in the reader's words: the schema's description says what to write there. */
function leafErrors(content: unknown): Fault[] {
  const faults = new Map<string, Fault>();
  const add = (path: string[], message: string) => {
    const key = path.join('.');
    if (!faults.has(key)) faults.set(key, { path, message });
  };
  for (const error of Value.Errors(ManifestSchema, content)) {
    const path = error.instancePath.split('/').slice(1);
    const where = path.join('.') || 'the manifest';
    if (error.keyword === 'additionalProperties') {
      for (const name of error.params.additionalProperties)
        add([...path, name], `\`${name}\` is not known here; remove it.`);
    } else if (error.keyword === 'required') {
      for (const name of error.params.requiredProperties)
        add(
          [...path, name],
          `${where === 'the manifest' ? '' : `${where}.`}${name} is missing; write ${describe([...path, name])}.`,
        );
    } else if (error.keyword !== 'boolean') add(path, `${where} must be ${describe(path)}.`);
  }
  return [...faults.values()];
}

function describe(path: string[]): string {
  let node: { description?: string; properties?: Record<string, unknown>; items?: unknown } = ManifestSchema;
  for (const step of path) node = (node.properties?.[step] ?? node.items ?? {}) as typeof node;
  return node.description ?? 'as the schema says';
}

/** The line of the node at `path`, or of its nearest parent that exists. */
function lineOf(document: Document, lines: LineCounter, path: string[]): number {
  for (let length = path.length; length > 0; length--) {
    const parent = length === 1 ? document.contents : document.getIn(path.slice(0, length - 1), true);
    const key = path[length - 1];
    const pair = (
      parent as {
        items?: { key?: { value?: unknown; range?: [number, number, number] }; range?: [number, number, number] }[];
      } | null
    )?.items;
    const node = pair?.find((item) => item.key?.value === key)?.key ?? pair?.[Number(key)];
    if (node?.range) return lines.linePos(node.range[0]).line;
  }
  return 1;
}
