/** Stands for an object that is opened later, so that what uses it can be wired before. */

/**
 * Each call is made on what `get` returns at that time, or throws what `get` throws. Only methods may be used of it.
 */
export function later<T extends object>(get: () => T): T {
  return new Proxy({} as T, {
    get: (_, name) => {
      if (name === 'then') return undefined; // it is no promise
      return (...args: unknown[]) => {
        const target = get();
        return (Reflect.get(target, name) as (...args: unknown[]) => unknown).apply(target, args);
      };
    },
  });
}
