import { ERRORS, type ErrorCode } from '../../protocol/errors.ts';
import { METHODS } from '../../protocol/http/gateway.ts';
import { KeptAccepted, KeptInvocation, KeptLine } from '../../protocol/http/gateway-kept.ts';
import { InvocationAnswer, InvocationEvent, InvokeBody } from '../../protocol/http/invocation.ts';
import { Problem } from '../../protocol/http/problem.ts';
import { NAME_PATTERN, PLUGIN_PATTERN } from '../../protocol/names.ts';
import { VERSION } from '../../runtime/version.ts';

const PROBLEM_STATUSES: readonly ErrorCode[] = [
  'TFS_BAD_REQUEST',
  'TFS_UNAUTHENTICATED',
  'TFS_FORBIDDEN',
  'TFS_UNKNOWN_SERVICE',
  'TFS_TOO_LARGE',
  'TFS_METHOD',
  'TFS_CONFLICT',
  'TFS_UNSUPPORTED_MEDIA',
  'TFS_RATE_LIMITED',
  'TFS_CANCELLED',
  'TFS_WORKER_LOST',
  'TFS_BUSY',
  'TFS_TIMEOUT',
];

const name = { type: 'string', pattern: NAME_PATTERN };
const headers = Object.fromEntries(
  ['X-Triggerfs-Invocation', 'X-Triggerfs-Verdict', 'X-Triggerfs-Exit-Code'].map((header) => [header, { schema: { type: 'string' } }]),
);
const answer = { headers, content: { 'application/json': { schema: InvocationAnswer } } };
const problems = Object.fromEntries(
  PROBLEM_STATUSES.map((code) => [
    String(ERRORS[code].status),
    { description: `Such as ${code}`, content: { 'application/problem+json': { schema: Problem } } },
  ]),
);

const accepted = {
  description: 'Accepted: it is committed, and runs',
  headers: { Location: { schema: { type: 'string' } }, 'Preference-Applied': { schema: { type: 'string' } } },
  content: { 'application/json': { schema: KeptAccepted } },
};
const header = (named: string, description: string): object => ({ name: named, in: 'header', description, schema: { type: 'string' } });
const PREFER = header('Prefer', 'respond-async: answered 202; wait=N: waits so many seconds first');

const invoke = {
  summary: 'Runs a plugin on the workers of a service',
  // Some services need no token.
  security: [{ bearer: [] }, {}],
  parameters: [
    PREFER,
    header('Idempotency-Key', 'The same key is the same invocation, which runs once and is answered each time'),
    { name: 'team', in: 'path', required: true, schema: name },
    { name: 'service', in: 'path', required: true, schema: name },
    {
      name: 'plugin',
      in: 'query',
      description: 'With it the body is the payload as it is; without it the body is a JSON object',
      schema: { type: 'string', pattern: PLUGIN_PATTERN },
    },
    { name: 'timeout', in: 'query', description: 'Only with plugin: 500ms, 10s, 5m', schema: { type: 'string' } },
    {
      name: 'args',
      in: 'query',
      description: 'Only with plugin: args.NAME=VALUE for each argument',
      style: 'form',
      explode: true,
      schema: { type: 'object', additionalProperties: { type: 'string' } },
    },
  ],
  requestBody: {
    content: { 'application/json': { schema: InvokeBody }, '*/*': { schema: { type: 'string', format: 'binary' } } },
  },
  responses: {
    '200': {
      description: 'Every run ended with exit code 0; live answers are always 200 once they have begun',
      headers,
      content: {
        'application/json': { schema: InvocationAnswer },
        'text/event-stream': { schema: InvocationEvent },
        'application/x-ndjson': { schema: InvocationEvent },
      },
    },
    '202': accepted,
    '422': { description: 'A plugin ended with another exit code', ...answer },
    ...problems,
  },
};

const text = (description: string, type: string): object => ({
  '200': { description, content: { [type]: { schema: { type: type === 'application/json' ? 'object' : 'string' } } } },
});

const id = { name: 'id', in: 'path', required: true, schema: { type: 'string', format: 'uuid' } };
const security = [{ bearer: [] }, {}];
const missing = { '404': problems['404'] };

const kept = {
  operationId: 'kept',
  summary: 'What became of an accepted invocation; live with Accept: text/event-stream',
  security,
  parameters: [
    id,
    PREFER,
    header('Last-Event-ID', 'Of a live answer: goes on after the event with this id'),
    { name: 'after', in: 'query', description: 'The same for who cannot send headers', schema: { type: 'string' } },
  ],
  responses: {
    '200': {
      description: 'Its state, and its result once it has ended',
      content: {
        'application/json': { schema: KeptInvocation },
        'text/event-stream': { schema: KeptLine },
        'application/x-ndjson': { schema: KeptLine },
      },
    },
    '204': { description: 'The event with this id was the last one' },
    ...missing,
  },
};

const keptOutput = {
  operationId: 'keptOutput',
  summary: 'All of its output so far',
  security,
  parameters: [id, { name: 'stream', in: 'query', schema: { enum: ['stdout', 'stderr'] } }],
  responses: { ...text('Bytes', 'application/octet-stream'), ...missing },
};

const hook = {
  operationId: 'hook',
  summary: 'A webhook, signed by its sender',
  parameters: [
    { name: 'team', in: 'path', required: true, schema: name },
    { name: 'hook', in: 'path', required: true, schema: name },
  ],
  requestBody: { content: { '*/*': { schema: { type: 'string', format: 'binary' } } } },
  responses: { '200': { description: 'It ran, or was a greeting' }, '202': accepted, ...problems },
};

/** The same by every method that a service may allow. */
const methods = Object.fromEntries(METHODS.map((method) => [method.toLowerCase(), { operationId: `invoke${method}`, ...invoke }]));

/** The description of the gateway, OpenAPI 3.1. A test compares it with the routes. */
export const OPENAPI: Readonly<Record<string, unknown>> = {
  openapi: '3.1.0',
  info: { title: 'triggerFS gateway', version: VERSION },
  components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } } },
  paths: {
    '/v1/invoke/{team}/{service}': methods,
    '/v1/hooks/{team}/{hook}': { post: hook },
    '/v1/invocations/{id}': { get: kept },
    '/v1/invocations/{id}/output': { get: keptOutput },
    '/healthz': {
      get: {
        operationId: 'health',
        summary: '200 while serving, 503 while shutting down',
        responses: { ...text('State', 'application/json'), '503': { description: 'Shutting down' } },
      },
    },
    '/metrics': {
      get: { operationId: 'metrics', summary: 'Measurements for Prometheus', responses: text('Text format', 'text/plain') },
    },
    '/openapi.json': {
      get: { operationId: 'openapi', summary: 'This description', responses: text('OpenAPI 3.1', 'application/json') },
    },
  },
};
