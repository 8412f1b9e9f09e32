/** Gauges are collected together: those that are read from the same rows wait for one query. */
export function sharedRead<T>(read: () => Promise<T>): () => Promise<T> {
  let reading: Promise<T> | undefined;
  return async () => (reading ??= read().finally(() => (reading = undefined)));
}
