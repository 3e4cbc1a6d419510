import { onKill, serve } from '../../sdk/index.ts';
import { AppendFile } from './append-file.ts';

const MAX_OPEN = 256;
const files = new Map<string, AppendFile>();

serve((message) => {
  const path = message.args.path as string;
  return fileFor(path).append(message.payload, message.args.newline === true);
});

onKill(() => {
  for (const file of files.values()) file.close();
});

/** The open file of a path; the one opened first is closed when there are too many. */
function fileFor(path: string): AppendFile {
  const known = files.get(path);
  if (known !== undefined) return known;
  if (files.size >= MAX_OPEN) {
    const [oldest, file] = files.entries().next().value as [string, AppendFile];
    file.close();
    files.delete(oldest);
  }
  const file = new AppendFile(path);
  files.set(path, file);
  return file;
}
