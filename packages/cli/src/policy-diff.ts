/** What one policy allows or demands and another does not: for officers, who sign a change and not a file. */
import type { Policy } from '@abaton/verify';

export interface PolicyChange {
  member: string;
  /** In JSON. Null: the first policy has nothing there, or the second. */
  before: string | null;
  after: string | null;
}

/** Entries of lists one by one, in whatever order they stand; all else as a whole. Empty when both mean the same. */
export function diffPolicies(before: Policy, after: Policy): PolicyChange[] {
  const members = Object.keys(before) as (keyof Policy)[];
  return members.flatMap((member) => diffMember(member, before[member], after[member]));
}

function diffMember(member: string, before: unknown, after: unknown): PolicyChange[] {
  if (isObject(before) && isObject(after))
    return Object.keys(before).flatMap((name) => diffMember(`${member}.${name}`, before[name], after[name]));
  if (!Array.isArray(before) || !Array.isArray(after)) {
    const [old, now] = [JSON.stringify(before), JSON.stringify(after)];
    return old === now ? [] : [{ member, before: old, after: now }];
  }
  const [old, now] = [before, after].map((list) => list.map((entry) => JSON.stringify(entry)));
  return [
    ...old!.filter((entry) => !now!.includes(entry)).map((entry) => ({ member, before: entry, after: null })),
    ...now!.filter((entry) => !old!.includes(entry)).map((entry) => ({ member, before: null, after: entry })),
  ];
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
