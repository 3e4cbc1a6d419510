/** Standard output belongs to the connection with the worker: everything printed goes to standard error, the worker's log. */
export function keepStandardOutput(): void {
  Object.defineProperty(process, 'stdout', { configurable: true, get: () => process.stderr });
}
