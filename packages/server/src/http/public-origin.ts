/**
 * The origin that links in answers begin with: the one that the client has used, also through a gateway, which says so
 * (`Forwarded`, RFC 7239, in the one form that ours writes). Only links depend on it: whoever lies gets links that lead
 * nowhere.
 */
import type { Context, Env } from 'hono';

const FORWARDED = /^host="([\w.:[\]-]{1,255})";proto=(https?)$/;

export function publicOrigin<E extends Env>(c: Context<E>): string {
  const [, host, scheme] = FORWARDED.exec(c.req.header('forwarded') ?? '') ?? [];
  const forwarded = `${scheme}://${host}`;
  return new URL(host !== undefined && URL.canParse(forwarded) ? forwarded : c.req.url).origin;
}
