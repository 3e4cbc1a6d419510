import { ERRORS, type ErrorCode } from '../../protocol/errors.ts';
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
  'TFS_UNSUPPORTED_MEDIA',
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

const invoke = {
  operationId: 'invoke',
  summary: 'Runs a plugin on the workers of a service',
  security: [{ bearer: [] }],
  parameters: [
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
    '422': { description: 'A plugin ended with another exit code', ...answer },
    ...problems,
  },
};

const text = (description: string, type: string): object => ({
  '200': { description, content: { [type]: { schema: { type: type === 'application/json' ? 'object' : 'string' } } } },
});

/** The description of the gateway, OpenAPI 3.1. A test compares it with the routes. */
export const OPENAPI: Readonly<Record<string, unknown>> = {
  openapi: '3.1.0',
  info: { title: 'triggerFS gateway', version: VERSION },
  components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } } },
  paths: {
    '/v1/invoke/{team}/{service}': { post: invoke },
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
