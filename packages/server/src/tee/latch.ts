/**
 * An integrity failure closes the door until a named officer has said why (I1). The latch is in the log, not in memory
 * alone: a restart finds it there. What closes does so in the turn in which it is seen; the entry is queued in that turn
 * before anything else, and is tried again until the log takes it.
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
   * Opens an incident when these codes speak of integrity and no open incident has them all already. On return its entry
   * is durable, or was refused by the log and is tried again each second. Never throws.
   */
  report(failure: { codes: readonly string[]; evidenceId: string | null }): Promise<void>;
  /**
   * Ends it: first the entry, then the incident. Throws AUDIT_UNAVAILABLE, and RESOLUTION_INVALID when it is open no more
   * or another call is about to end it.
   */
  resolve(id: string, resolution: Pick<AuditEvent, 'facts' | 'detail'>): Promise<void>;
  /** Called in the turn in which an incident opens. Returns how to stop that. */
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
}

const RETRY_MS = 1_000; // as the log tries its own commits again
const KEPT = 100;

export function createLatch({ open: found, audit, logger, nowMs }: LatchOptions): Latch {
  const open = [...found];
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
      if (open.some((incident) => grave.every((code) => incident.codes.includes(code)))) return;
      const incident = createIncident(grave, evidenceId, nowMs());
      open.push(incident);
      unwritten.add(incident);
      const writing = audit.record(incidentEvent(incident)); // its place in the log is before whatever follows
      tell(openListeners, incident);
      logger.error('incident', { ref: incident.id, codes: incident.codes, evidenceId });
      await settle(incident, writing);
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
