/**
 * Orders: a named officer of the manifest signs what is to be done (verify: officer-order.ts). In this order: the note
 * holds, the office may order it, it was not used before; it is recorded; witnesses have seen that; it is carried out.
 * One that is refused is recorded as denied.
 */
import { AbatonError, type OrderBody, parseOfficerOrder } from '@abaton/verify';
import type { Denials } from '../audit/denials.ts';
import type { AuditEvent, AuditRequest, AuditTrail } from '../audit/events.ts';
import type { AuditLog, LogPosition } from '../audit/log.ts';
import type { PatientRef } from '../vault/vault.ts';
import {
  type NoteKind,
  noteInvalid,
  type Officer,
  parseSigners,
  type Signer,
  verifyOfficerNote,
  verifyOursAndFresh,
} from './officer-note.ts';
import { OFFICES, ORDER_OFFICES } from './roles.ts';
import { createUsedOrders } from './used-orders.ts';

const ORDER: NoteKind = { name: 'order', code: 'ORDER_INVALID' };

/** An order that was accepted, as its entry in the log names it. */
export interface AcceptedOrder {
  id: string;
  do: string;
  /** As in the manifest. */
  officer: string;
  /** Where its entry stands. */
  entry: LogPosition;
}

/** A document, or one that is made while it is sent. */
export type OrderAnswer = { json: object } | { contentType: string; stream: AsyncIterable<Uint8Array> };

export interface PreparedOrder {
  /**
   * Whom it is about: the entry is that patient's, and what it seals (the note) is under the accounting key. Null for
   * nobody: then no member may say anything about one.
   */
  patient: PatientRef | null;
  /** Called once the order is recorded, and witnessed where there are witnesses. */
  carryOut(accepted: AcceptedOrder): Promise<OrderAnswer>;
}

/** Reads the members of an order; does nothing yet. Throws with `orderInvalid` for members that it does not know. */
export type OrderHandler = (order: OrderBody) => PreparedOrder;

export interface OrderDesk {
  /** Throws ORDER_INVALID, AUDIT_UNAVAILABLE, and what the order's own work throws. */
  submit(note: string, request: AuditRequest): Promise<{ accepted: AcceptedOrder; answer: OrderAnswer }>;
}

export interface OrderDeskOptions {
  officers: readonly Officer[];
  /** By the verb of `do`. One without a row in ORDER_OFFICES is ordered by nobody. */
  handlers: Readonly<Record<string, OrderHandler>>;
  log: Pick<AuditLog, 'backward' | 'vkeys'>;
  trail: Pick<AuditTrail, 'record'>;
  denials: Denials;
  /** Resolves when the witnesses have cosigned a checkpoint over that entry. Absent: there are none. */
  witnessed?: (entry: LogPosition) => Promise<void>;
  nowMs: () => number;
  /** For tests: another table. */
  offices?: typeof ORDER_OFFICES;
}

/** Throws MANIFEST_INVALID when an officer's key is none. */
export function createOrderDesk(options: OrderDeskOptions): OrderDesk {
  const { handlers, log, trail, denials, witnessed = async () => {}, nowMs, offices: table = ORDER_OFFICES } = options;
  const signers = parseSigners(options.officers, OFFICES);
  const used = createUsedOrders(log, nowMs);

  /** `signer` is told as soon as the signature holds, so that a refusal can name who it was. */
  const verify = async (note: string, signedBy: (signer: Signer) => void) => {
    if (signers.length === 0)
      throw noteInvalid(
        ORDER,
        'the manifest names no security-officer or privacy-officer, so that nobody can give one',
      );
    const { text, signer } = verifyOfficerNote(note, signers, ORDER);
    signedBy(signer);
    const { order, ...signed } = parseOfficerOrder(text);
    verifyOursAndFresh(signed, { logVkeys: log.vkeys(), nowMs: nowMs() }, ORDER);
    const handler = Object.hasOwn(handlers, order.do) ? handlers[order.do] : undefined;
    const offices: readonly string[] = (Object.hasOwn(table, order.do) && table[order.do]) || [];
    if (!handler || offices.length === 0) throw noteInvalid(ORDER, 'this server knows no such order');
    if (!offices.includes(signer.role)) throw noteInvalid(ORDER, `a ${signer.role} cannot give it`);
    const prepared = handler(order);
    if (!(await used.take(signed.id, signed.signedMs))) throw noteInvalid(ORDER, 'it was given before');
    return { prepared, signer, id: signed.id, verb: order.do };
  };

  return {
    async submit(note, request) {
      let officer: string | null = null;
      const { prepared, signer, id, verb } = await verify(note, ({ name }) => {
        officer = name;
      }).catch((error) => {
        const code = error instanceof AbatonError ? error.code : 'INTERNAL';
        denials.record({ actor: 'anonymous', object: { kind: 'order', ref: '' }, facts: { code, officer }, request });
        throw error;
      });
      const event: AuditEvent = {
        action: 'order',
        actor: 'officer',
        patient: prepared.patient,
        object: { kind: 'order', ref: id },
        outcome: 'success',
        facts: { officer: signer.name, role: signer.role, do: verb, orderId: id },
        detail: { note },
        request,
      };
      const entry = await trail.record(event);
      const accepted = { id, do: verb, officer: signer.name, entry };
      try {
        await witnessed(entry);
        return { accepted, answer: await prepared.carryOut(accepted) };
      } catch (error) {
        const code = error instanceof AbatonError ? error.code : 'INTERNAL';
        const { detail: _, ...failed } = event;
        await trail.record({ ...failed, outcome: 'failure', facts: { ...event.facts, code } }).catch(() => {});
        throw error;
      }
    },
  };
}

/** For handlers: what is wrong with the members of an order. */
export const orderInvalid = (why: string) => noteInvalid(ORDER, why);
