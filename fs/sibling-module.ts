import { extname } from 'node:path';

/** File of a module beside the calling one, whether that runs from its source or from dist/. */
export function siblingModule(url: string, name: string): URL {
  return new URL(`./${name}${extname(new URL(url).pathname)}`, url);
}
