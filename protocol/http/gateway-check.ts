import { isOrigin } from '../configuration/http-words.ts';
import { HOOK_DEFAULTS, type HookSettings, HTTP_DEFAULTS, type HttpSettings, MAX_ARGUMENTS, MAX_HEADERS, MAX_STATUSES } from './gateway.ts';
import { parseSource, readsBody } from './gateway-source.ts';

/** Headers that the gateway sets itself, that describe the connection, or that reach beyond one answer of one team. */
const RESERVED =
  /^(access-control-.*|alt-svc|clear-site-data|connection|content-(encoding|length|type)|date|keep-alive|nel|origin-agent-cluster|proxy-.*|report(ing-endpoints|-to)|server|service-worker-allowed|set-cookie2?|strict-transport-security|te|trailer|transfer-encoding|upgrade|via|www-authenticate|x-triggerfs-.*)$/;

const CREDENTIALS = new Set(['authorization', 'cookie', 'proxy-authorization']);

/** Settings of a service from what the database holds: the rest is as a new service has it. */
export function completeHttp(stored: Readonly<Partial<HttpSettings>>): HttpSettings {
  return { ...HTTP_DEFAULTS, ...stored };
}

/** Settings of a hook from what the database holds. */
export function completeHook(stored: Readonly<Partial<HookSettings>>): HookSettings {
  return { ...HOOK_DEFAULTS, ...stored };
}

/** What is wrong with settings beyond the form of each; null: nothing. */
export function httpProblem({ payload, args, origins, credentials, headers, statuses }: HttpSettings): string | null {
  if (Object.keys(headers).length > MAX_HEADERS) return `there are at most ${MAX_HEADERS} headers`;
  if (Object.keys(statuses).length > MAX_STATUSES) return `there are at most ${MAX_STATUSES} statuses`;
  const origin = origins.find((each) => !isOrigin(each));
  if (origin !== undefined) return `${origin} is no origin, such as https://app.example.com`;
  if (credentials && origins.includes('*')) return 'credentials and the origin * do not go together: every page could act for its reader';
  const header = Object.keys(headers).find((name) => RESERVED.test(name));
  if (header !== undefined) return `the header ${header} is not for services to set`;
  return mappingProblem(payload, args);
}

/** As `httpProblem`. */
export function hookProblem({ payload, args }: HookSettings): string | null {
  return mappingProblem(payload, args);
}

/** A body cannot be JSON and a form at once. */
function mappingProblem(payload: string, args: Readonly<Record<string, string>>): string | null {
  if (Object.keys(args).length > MAX_ARGUMENTS) return `at most ${MAX_ARGUMENTS} arguments are mapped`;
  const forms = new Set<string>();
  const places = Object.entries(args).map(([name, text]) => [`the argument ${name}`, text] as const);
  for (const [what, text] of [['the payload', payload] as const, ...places]) {
    const source = parseSource(text);
    if (source === null) return `${what} is read from ${JSON.stringify(text)}, which is no place in a request`;
    if (source.place.from === 'header' && CREDENTIALS.has(source.place.name))
      return `${what} is read from ${text}, which is a secret of the caller`;
    if (what !== 'the payload' && source.place.from === 'none') return `${what} is read from nowhere`;
    const form = readsBody(source);
    if (form !== null) forms.add(form);
  }
  return forms.size > 1 ? 'some values are read from a JSON body and some from a form; a body is only one of them' : null;
}
