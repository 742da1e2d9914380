/** Rows. One SQL text serves every engine; rules in docs/decisions/0004-rows.md (bigint, integer, text, bytea; `$1` parameters). */
export type SqlValue = string | number | bigint | Uint8Array | null;
export type Row = Record<string, SqlValue>;

export interface Queries {
  /** Runs one statement and returns its rows (empty for a write without `returning`). */
  query(sql: string, params?: readonly SqlValue[]): Promise<Row[]>;
}

export interface Db extends Queries {
  /**
   * All of `work` commits, durable on return, or none of it. Transactions run one after another, so `work` does nothing
   * slow, and asks only the `q` it is given: `query` and `tx` of the Db itself throw there, since they wait for its end.
   * A transaction in which a statement failed does not commit, also when `work` caught the error.
   */
  tx<T>(work: (q: Queries) => Promise<T>): Promise<T>;
  /** Waits for what was asked before. */
  close(): Promise<void>;
}
