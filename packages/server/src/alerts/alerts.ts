/**
 * Tells the security contacts of the manifest. Each contact has a lane of its own, one try at a time, so that one that
 * hangs delays no other; an alert is on disk before its first try, and is tried for a day, also over restarts. An
 * incident that is in the log and was not told, for the process was killed in between, is told at the next start.
 */
import { randomUUID } from 'node:crypto';
import { type Logger, placeOf } from '../log.ts';
import { createSignal } from '../signal.ts';
import { type Alert, type Contact, messageOf, parseContact } from './alert.ts';
import { createMailer, type SendMail, type SmtpOptions } from './mail.ts';
import { type OutboxEntry, openOutbox } from './outbox.ts';
import { postWebhook } from './webhook.ts';

/** What became of one try. Public facts: a contact is its kind and its place in the manifest. */
export interface AlertOutcome {
  outcome: 'success' | 'failure';
  kind: string;
  incidentId: string | null;
  contact: Contact['kind'];
  index: number;
  /** Null on success; else a token such as 'timeout', 'status-500', 'ECONNREFUSED'. */
  reason: string | null;
  /** The last try: the alert is a day old. */
  givenUp: boolean;
}

export interface AlertOptions {
  /** `app_name` of the manifest. */
  app: string;
  /** `security_contacts` of the manifest. */
  contacts: readonly string[];
  /** Null: contacts of kind mail cannot be reached, and each try says so. */
  smtp: SmtpOptions | null;
  outboxDir: string;
  /** Incidents that the log shows open at the start; none by default. */
  found: readonly { id: string; at: string; codes: readonly string[] }[];
  /** Writes one outcome to the audit log. What it throws is left: an alert does not wait for the log. */
  record: (outcome: AlertOutcome) => Promise<unknown>;
  logger: Logger;
  nowMs: () => number;
  /** For tests: wait after the first failure, time of a try, certificates of webhooks. */
  retryMs?: number;
  tryMs?: number;
  ca?: string;
}

export interface Alerts {
  /** On return the alert is on disk; it goes out beside. Never throws: without a disk it is tried from memory. */
  raise(alert: Alert): Promise<void>;
  /** Ends the lanes after their running tries. What is not delivered stays in the outbox. */
  stop(): Promise<void>;
}

const RETRY_MS = 30_000; // doubled with each failure: about thirty tries in a day
const MAX_RETRY_MS = 3_600_000; // RFC 5321 section 4.5.4.1: at least 30 minutes between tries, and more later
const TRY_MS = 10_000;
const LIFE_MS = 24 * 3_600_000; // after a day somebody has looked, or nobody will
/** What a door that flaps all day can pile up while nobody answers; beyond it an alert is dropped, as the log says. */
const MAX_ENTRIES = 1_000;

/** Takes up what a former process left. Throws SETTING_INVALID, and what the disk says. */
export async function createAlerts(options: AlertOptions): Promise<Alerts> {
  const { app, smtp, outboxDir, record, logger, nowMs, ca, retryMs = RETRY_MS, tryMs = TRY_MS, found } = options;
  const contacts = options.contacts.map(parseContact);
  const sendMail: SendMail = smtp ? createMailer(smtp) : async () => 'no-smtp';
  const outbox = await openOutbox({ directory: outboxDir, app, maxEntries: MAX_ENTRIES, nowMs });
  const entries = new Set<OutboxEntry>();
  const changed = createSignal();
  let stopped = false;

  let saving = Promise.resolve();
  /** One at a time: two lanes may settle one entry in the same moment. */
  const save = (entry: OutboxEntry): Promise<void> => {
    saving = saving
      .then(() => outbox.save(entry))
      .catch(() => logger.error('alert-not-stored', { ref: entry.message.incidentId }));
    return saving;
  };

  const settle = (entry: OutboxEntry, { key }: Contact): Promise<void> => {
    entry.waiting = entry.waiting.filter((other) => other !== key);
    if (entry.waiting.length === 0) entries.delete(entry);
    return save(entry);
  };

  const enqueue = async (alert: Alert): Promise<void> => {
    const waiting = contacts.map(({ key }) => key);
    const entry: OutboxEntry = { v: 1, id: randomUUID(), raisedMs: nowMs(), message: messageOf(alert, app), waiting };
    await save(entry);
    entries.add(entry);
    changed.notify();
  };

  /** One try. Returns whether the contact has it. */
  const tryOnce = async (entry: OutboxEntry, contact: Contact): Promise<boolean> => {
    const { message, raisedMs } = entry;
    const reason = await (contact.kind === 'mail'
      ? sendMail(contact.target, message, tryMs)
      : postWebhook(contact.target, message, { timeoutMs: tryMs, ...(ca && { ca }) }));
    const delivered = reason === null;
    const givenUp = !delivered && nowMs() - raisedMs > LIFE_MS;
    if (delivered || givenUp) await settle(entry, contact);
    const { kind, incidentId } = message;
    const { kind: how, index } = contact;
    logger[delivered ? 'info' : 'warn']('alert', { kind: how, index, ref: incidentId, code: reason });
    const outcome = delivered ? 'success' : 'failure';
    // beside: a log that hangs must not hold up the lane
    void record({ outcome, kind, incidentId, contact: how, index, reason, givenUp }).catch(() => {});
    return delivered;
  };

  const runLane = async (contact: Contact): Promise<void> => {
    const tries = new WeakMap<OutboxEntry, number>();
    const triesOf = (entry: OutboxEntry) => tries.get(entry) ?? 0;
    let failures = 0;
    while (!stopped) {
      const waiting = [...entries].filter((entry) => entry.waiting.includes(contact.key));
      const [entry] = waiting.sort((a, b) => triesOf(a) - triesOf(b)); // a new one waits behind none that is refused
      if (!entry) {
        await changed.wait(MAX_RETRY_MS);
        continue;
      }
      tries.set(entry, triesOf(entry) + 1);
      const delivered = await tryOnce(entry, contact).catch((error) => {
        logger.error('defect', { at: placeOf(error) });
        return false; // and on with the lane: it is what tells of the next incident
      });
      failures = delivered ? 0 : failures + 1;
      if (failures > 0 && !stopped) await changed.wait(Math.min(retryMs * 2 ** (failures - 1), MAX_RETRY_MS));
    }
  };

  const left = await outbox.load(new Set(found.map(({ id }) => id)));
  if (left.refused > 0) logger.error('alerts-not-read', { count: left.refused });
  for (const entry of left.entries) {
    entry.waiting = entry.waiting.filter((key) => contacts.some((contact) => contact.key === key));
    if (entry.waiting.length > 0) entries.add(entry);
    else await save(entry); // none of its contacts is in the manifest any more
  }
  if (contacts.length > 0)
    for (const { id, at, codes } of found)
      if (!left.told.has(id)) await enqueue({ kind: 'incident', incidentId: id, codes, at });
  const lanes = contacts.map(runLane);

  return {
    async raise(alert) {
      if (contacts.length === 0) return;
      if (entries.size >= MAX_ENTRIES) return logger.error('alert-dropped', { ref: alert.incidentId });
      await enqueue(alert);
    },
    async stop() {
      stopped = true;
      changed.notify();
      await Promise.all(lanes);
    },
  };
}
