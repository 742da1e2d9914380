/** Rows. One SQL text serves every engine; rules in docs/decisions/0004-rows.md (bigint, integer, text, bytea; `$1` parameters). */
export type SqlValue = string | number | bigint | Uint8Array | null;
export type Row = Record<string, SqlValue>;

export interface Queries {
  /** Runs one statement and returns its rows (empty for a write without `returning`). */
  query(sql: string, params?: readonly SqlValue[]): Promise<Row[]>;
}

export interface Db extends Queries {
  /** All of `work` commits, durable on return, or none of it. */
  tx<T>(work: (q: Queries) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}
