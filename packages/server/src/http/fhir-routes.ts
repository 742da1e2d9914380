/** FHIR R4 (http://hl7.org/fhir/R4/http.html): results as DiagnosticReports, read and found by their study. */
import { type Context, Hono } from 'hono';
import type { AuditTrail } from '../audit/events.ts';
import { errorOf } from '../errors.ts';
import type { StoredResult, StudyArchive } from '../imaging/archive.ts';
import { buildDiagnosticReport, type DiagnosticReport } from '../imaging/fhir.ts';
import type { Gate } from '../tee/gate.ts';
import { requireAccepted } from './dicomweb/media-types.ts';
import { permitDisclosure, requestOf } from './disclosure.ts';
import type { DoorEnv } from './door-env.ts';
import { publicOrigin } from './public-origin.ts';

export interface FhirDeps {
  gate: Gate;
  archive: StudyArchive;
  trail: AuditTrail;
}

const ROOT = '/fhir/R4';
const FHIR_JSON = 'application/fhir+json';
/** A study is named as DICOM UIDs are in FHIR (http://hl7.org/fhir/R4/imagingstudy.html): optionally with its system. */
const STUDY_IDENTIFIER = /^(?:urn:dicom:uid\|)?urn:oid:([0-9.]{1,64})$/;

export function fhirRoutes({ gate, archive, trail }: FhirDeps): Hono<DoorEnv> {
  const app = new Hono<DoorEnv>();
  const base = (c: Context) => publicOrigin(c) + ROOT;

  const reportOf = async ({ study, body }: StoredResult): Promise<DiagnosticReport> => {
    const { source, studyInstanceUid } = body;
    const found =
      (source && (await archive.findInstance(studyInstanceUid, source.seriesInstanceUid, source.sopInstanceUid))) ??
      (await archive.inputOf(study)).instances[0];
    return buildDiagnosticReport(body, found?.dataset ?? new Map());
  };
  const permit = (
    c: Context<DoorEnv>,
    results: readonly StoredResult[],
    action: 'read' | 'search',
    detail: Record<string, unknown>,
  ) =>
    permitDisclosure(
      { gate, trail },
      {
        action,
        request: requestOf(c),
        patients: results.map(({ patient }) => patient),
        object: { kind: 'result', ref: results[0]?.study ?? '' },
        facts: { as: 'DiagnosticReport', results: results.length },
        detail,
      },
    );

  read(app, '/metadata', (c) => respond(c, capabilityStatement(base(c))));

  read(app, '/DiagnosticReport/:id', async (c) => {
    gate.requireOpen();
    const id = c.req.param('id') ?? '';
    const result = await archive.findResult(id);
    if (!result) throw errorOf('NOT_FOUND', 'There is no such DiagnosticReport.');
    const report = await reportOf(result);
    await permit(c, [result], 'read', { id });
    return respond(c, report);
  });

  read(app, '/DiagnosticReport', async (c) => {
    gate.requireOpen();
    const { identifier = '', _format: _, ...unknown } = c.req.query();
    const [, study] = STUDY_IDENTIFIER.exec(identifier) ?? [];
    if (study === undefined || Object.keys(unknown).length > 0)
      throw errorOf('REQUEST_INVALID', 'Search with identifier=urn:oid:{Study Instance UID}, and nothing else.');
    const results = await archive.results(archive.studyRef(study));
    const reports = await Promise.all(results.map(reportOf));
    await permit(c, results, 'search', { identifier });
    const entry = reports.map((resource) => ({
      fullUrl: `${base(c)}/DiagnosticReport/${resource.id}`,
      resource,
      search: { mode: 'match' },
    }));
    return respond(c, {
      resourceType: 'Bundle',
      type: 'searchset',
      total: entry.length,
      link: [{ relation: 'self', url: `${base(c)}/DiagnosticReport?identifier=${encodeURIComponent(identifier)}` }],
      ...(entry.length > 0 && { entry }), // FHIR JSON has no empty arrays
    });
  });

  return app;
}

function read(app: Hono<DoorEnv>, path: string, answer: (c: Context<DoorEnv>) => Response | Promise<Response>): void {
  app.get(ROOT + path, async (c) => {
    requireAccepted(c.req.header('accept'), FHIR_JSON, 'application/json');
    return answer(c);
  });
  app.all(ROOT + path, (c) => {
    c.header('allow', 'GET, HEAD');
    throw errorOf('METHOD_NOT_ALLOWED', 'This resource supports GET and HEAD.');
  });
}

const respond = (c: Context, resource: object): Response =>
  c.body(JSON.stringify(resource), 200, { 'content-type': FHIR_JSON });

const capabilityStatement = (url: string) => ({
  resourceType: 'CapabilityStatement',
  status: 'active',
  date: '2026-11-24', // of this statement
  kind: 'instance',
  software: { name: 'Abaton' },
  implementation: { description: 'Abaton: results of imaging models, with proof', url },
  fhirVersion: '4.0.1',
  format: ['json', FHIR_JSON],
  rest: [
    {
      mode: 'server',
      resource: [
        {
          type: 'DiagnosticReport',
          interaction: [{ code: 'read' }, { code: 'search-type' }],
          searchParam: [{ name: 'identifier', type: 'token', documentation: 'Study Instance UID, as urn:oid:{uid}' }],
        },
      ],
    },
  ],
});
