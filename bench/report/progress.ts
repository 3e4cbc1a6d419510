/**
 * A function that shows what is going on: in one line of a terminal; elsewhere as lines of standard error with the seconds since the
 * start, so that a long run in a pipe or a log can be told from one that hangs. An empty text ends it.
 */
export function progressLine(): (text: string) => void {
  const { stderr } = process;
  if (stderr.isTTY) return (text) => void stderr.write(`\r\x1b[2K${text}`);
  const started = performance.now();
  return (text) => {
    const seconds = ((performance.now() - started) / 1000).toFixed(0);
    if (text !== '') stderr.write(`${seconds.padStart(5)} s  ${text}\n`);
  };
}
