/**
 * An integrity failure closes the door until a named officer has said why (I1). The latch is in the log, not in memory
 * alone: a restart finds it there. First the entry, then what can be seen from outside: whoever kills the process the moment
 * its connections are cut must find it latched. A log that does not take the entry soon is not waited for; it is tried again
 * until it does.
 */
import type { AuditEvent, AuditTrail } from '../audit/events.ts';
import { errorOf } from '../errors.ts';
import { type Logger, placeOf } from '../log.ts';
import { isIntegrity, kindOfFailure } from './failure-kinds.ts';
import { createIncident, type Incident, incidentEvent } from './incident.ts';

export interface ListedIncident extends Incident {
  state: 'open' | 'resolved';
}

export interface Latch {
  /** Oldest first. While there is one, the gate is closed. */
  open(): readonly Incident[];
  /** The open ones and the last 100 that were resolved under this process, oldest first. */
  list(): readonly ListedIncident[];
  /**
   * Opens an incident when these codes speak of integrity and one of them is in no open incident yet: so there are never more
   * than there are codes. On return it is open, and its entry is durable, or late and tried again each second. Never throws.
   */
  report(failure: { codes: readonly string[]; evidenceId: string | null }): Promise<void>;
  /**
   * Ends it: first the entry, then the incident. Throws AUDIT_UNAVAILABLE, and RESOLUTION_INVALID when it is open no more
   * or another call is about to end it.
   */
  resolve(id: string, resolution: Pick<AuditEvent, 'facts' | 'detail'>): Promise<void>;
  /** Called in the turn in which an incident opens, which is then in the log or late. Returns how to stop that. */
  onOpen(listener: (incident: Incident) => void): () => void;
  /** Called in the turn in which an incident ends, just before. */
  onResolved(listener: (incident: Incident) => void): () => void;
  stop(): void;
}

export interface LatchOptions {
  /** As the log says at the start (readLogTail). */
  open: readonly Incident[];
  audit: Pick<AuditTrail, 'record'>;
  logger: Logger;
  nowMs: () => number;
  /** Called when the log has refused the entry, before it is tried again. */
  makeRoom?: () => Promise<void>;
}

const RETRY_MS = 1_000; // as the log tries its own commits again
/** How long the door may stay open for the entry: a commit takes milliseconds, and a disk that hangs must not hold it. */
const DURABLE_FIRST_MS = 1_000;
const KEPT = 100;

export function createLatch({ open: found, audit, logger, nowMs, makeRoom }: LatchOptions): Latch {
  const open = [...found];
  /** Known, and about to open. */
  const pending = new Set<Incident>();
  const resolved: Incident[] = [];
  const unwritten = new Set<Incident>();
  const ending = new Set<string>();
  const openListeners = new Set<(incident: Incident) => void>();
  const resolvedListeners = new Set<(incident: Incident) => void>();
  const timers = new Set<NodeJS.Timeout>();

  const tell = (listeners: typeof openListeners, incident: Incident): void => {
    for (const listener of listeners) {
      try {
        listener(incident);
      } catch (error) {
        logger.error('defect', { at: placeOf(error) }); // the others are told all the same
      }
    }
  };

  const settle = async (incident: Incident, writing: Promise<unknown>): Promise<void> => {
    try {
      await writing;
      unwritten.delete(incident);
    } catch {
      await makeRoom?.();
      const timer = setTimeout(() => {
        timers.delete(timer);
        void settle(incident, audit.record(incidentEvent(incident)));
      }, RETRY_MS).unref();
      timers.add(timer);
    }
  };

  return {
    open: () => open,
    list: () => [
      ...resolved.map((incident) => ({ ...incident, state: 'resolved' as const })),
      ...open.map((incident) => ({ ...incident, state: 'open' as const })),
    ],
    async report({ codes, evidenceId }) {
      if (kindOfFailure(codes) !== 'integrity') return;
      const grave = codes.filter(isIntegrity);
      const known = new Set([...open, ...pending].flatMap((incident) => incident.codes));
      if (grave.length > 0 && grave.every((code) => known.has(code))) return;
      const incident = createIncident(grave, evidenceId, nowMs());
      pending.add(incident);
      unwritten.add(incident);
      const late = Promise.withResolvers<void>();
      const timer = setTimeout(late.resolve, DURABLE_FIRST_MS);
      await Promise.race([settle(incident, audit.record(incidentEvent(incident))), late.promise]);
      clearTimeout(timer);
      pending.delete(incident);
      open.push(incident);
      tell(openListeners, incident);
      logger.error('incident', { ref: incident.id, codes: incident.codes, evidenceId });
    },
    async resolve(id, resolution) {
      const incident = open.find((each) => each.id === id);
      if (!incident || ending.has(id)) throw errorOf('RESOLUTION_INVALID', 'The incident is resolved already.');
      if (unwritten.has(incident)) throw errorOf('AUDIT_UNAVAILABLE', 'The incident is not in the log yet.');
      ending.add(id);
      try {
        const object = { kind: 'incident', ref: id };
        const event = {
          action: 'incident-resolved',
          actor: 'officer',
          patient: null,
          object,
          outcome: 'success',
        } as const;
        await audit.record({ ...event, ...resolution });
        tell(resolvedListeners, incident);
        open.splice(open.indexOf(incident), 1);
        resolved.push(incident);
        if (resolved.length > KEPT) resolved.shift();
        logger.info('incident-resolved', { ref: id });
      } finally {
        ending.delete(id);
      }
    },
    onOpen: (listener) => {
      openListeners.add(listener);
      return () => void openListeners.delete(listener);
    },
    onResolved: (listener) => {
      resolvedListeners.add(listener);
      return () => void resolvedListeners.delete(listener);
    },
    stop() {
      for (const timer of timers) clearTimeout(timer);
    },
  };
}
