/**
 * A Db over one connection: transactions and queries run one after another, in the order of asking. What an engine has
 * to do for that is small, and everything that the code relies on is the same for each.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Db, Queries, Row, SqlValue } from './db.ts';

type Awaitable<T> = T | Promise<T>;

/** One connection. Its errors are already ours. */
export interface Engine {
  run(sql: string, params: readonly SqlValue[]): Awaitable<Row[]>;
  begin(): Awaitable<void>;
  /** Durable on return. */
  commit(): Awaitable<void>;
  /** Ends the transaction, if one is open. Never throws. */
  rollback(): Awaitable<void>;
  close(): Awaitable<void>;
}

export class SerialDb implements Db {
  readonly #engine: Engine;
  /** Runs after all that was asked before: one connection has one transaction at a time. */
  #turn: Promise<unknown> = Promise.resolve();
  /** The transaction that the current call runs in, to refuse the query that would wait for its own end. */
  readonly #inside = new AsyncLocalStorage<{ running: boolean }>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  query(sql: string, params: readonly SqlValue[] = []): Promise<Row[]> {
    return this.#next(() => this.#engine.run(sql, params));
  }

  tx<T>(work: (q: Queries) => Promise<T>): Promise<T> {
    return this.#next(async () => {
      const scope = { running: true };
      let failure: unknown = null;
      const query = async (sql: string, params: readonly SqlValue[] = []) => {
        if (!scope.running) throw new Error('a query after the end of its transaction');
        try {
          return await this.#engine.run(sql, params);
        } catch (error) {
          failure ??= error;
          throw error;
        }
      };
      await this.#engine.begin();
      try {
        const result = await this.#inside.run(scope, () => work({ query }));
        scope.running = false;
        if (failure !== null) throw failure; // PostgreSQL would roll back here and say nothing
        await this.#engine.commit();
        return result;
      } catch (error) {
        scope.running = false;
        await this.#engine.rollback();
        throw error;
      }
    });
  }

  close(): Promise<void> {
    return this.#next(() => this.#engine.close());
  }

  #next<T>(work: () => Awaitable<T>): Promise<T> {
    if (this.#inside.getStore()?.running)
      return Promise.reject(new Error('inside a transaction use its own queries: others wait for its end'));
    const run = this.#turn.then(work);
    this.#turn = run.catch(() => undefined);
    return run;
  }
}
