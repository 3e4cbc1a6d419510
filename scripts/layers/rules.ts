/** What a folder may import, and why. ARCHITECTURE.md shows the same table (tested). */
export interface Layer {
  /** Folders it may import beside itself. */
  readonly imports: readonly string[];
  /** Said when somebody imports more. */
  readonly reason: string;
}

/** The folders of the house. Tests and benchmarks may import everything. */
export const LAYERS: Readonly<Record<string, Layer>> = {
  protocol: { imports: [], reason: 'what both ends agree on depends on neither of them' },
  runtime: { imports: ['protocol'], reason: 'plumbing of every process must not know what flows through it' },
  migrations: { imports: ['protocol', 'runtime'], reason: 'the schema is there before any program that uses it' },
  'control-plane': {
    imports: ['protocol', 'runtime', 'migrations', 'client'],
    reason: 'it reaches brokers as a client, never by their code',
  },
  'edge-broker': { imports: ['protocol', 'runtime'], reason: 'brokers route what they know and need nobody else’s code' },
  'worker-agent': { imports: ['protocol', 'runtime', 'plugins/sdk'], reason: 'a worker knows the contract of plugins, not the plugins' },
  client: { imports: ['protocol', 'runtime'], reason: 'the client library must stay small enough to embed' },
  fs: { imports: ['protocol', 'runtime', 'client'], reason: 'trigger files reach brokers only through the client library' },
  plugins: { imports: ['plugins/sdk'], reason: 'a plugin must work when it is copied out of this repository' },
  server: {
    imports: ['protocol', 'runtime', 'migrations', 'control-plane', 'edge-broker', 'worker-agent', 'client', 'fs', 'plugins'],
    reason: 'it puts all parts together',
  },
};

/** Which folders may use a package; packages that are not listed may be used by none. */
export const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  '@fastify/jwt': ['control-plane', 'edge-broker'],
  '@fastify/rate-limit': ['control-plane', 'edge-broker'],
  '@fastify/swagger': ['control-plane', 'edge-broker'],
  '@fastify/type-provider-typebox': ['control-plane', 'edge-broker'],
  '@iarna/toml': ['runtime'],
  'ajv-formats': ['control-plane', 'edge-broker'],
  'fast-jwt': ['runtime'],
  fastify: ['control-plane', 'edge-broker'],
  'fuse-native': ['fs'],
  'graphile-worker': ['migrations', 'control-plane'],
  'node-cron': ['control-plane', 'worker-agent'],
  croner: ['control-plane', 'worker-agent'],
  nodemailer: ['control-plane'],
  pg: ['runtime', 'migrations', 'control-plane', 'edge-broker'],
  'pg-boss': ['migrations', 'control-plane'],
  pino: ['runtime'],
  'prom-client': ['control-plane', 'edge-broker'],
  typebox: ['protocol', 'runtime', 'control-plane', 'edge-broker', 'worker-agent', 'client', 'fs'],
  zeromq: ['runtime', 'control-plane', 'edge-broker'],
};

/** Folders outside the layers: they may import everything. */
export const OPEN_FOLDERS: readonly string[] = ['test', 'bench', 'scripts'];

/** Most lines of a file that is no test, and of a program's bin.ts. */
export const MAX_LINES = 400;
export const MAX_BIN_LINES = 40;

/** Files that may read `process.env`: tests hand their own on to the programs they start. */
export const ENVIRONMENT_READERS: readonly RegExp[] = [/^runtime\/environment\.ts$/, /^test\//, /^scripts\//];

/** Texts that must not be in the repository, with the reason. Built from pieces, so that this file does not contain them. */
export const FORBIDDEN_TEXTS: readonly { readonly pattern: RegExp; readonly reason: string }[] = [
  { pattern: new RegExp(`\\b(?:${['TO', 'DO'].join('')}|${['FIX', 'ME'].join('')})\\b`), reason: 'finish it, or open an issue' },
  {
    pattern: new RegExp(`${['biome', 'ignore'].join('-')}|@ts-(?:${['ig', 'nore'].join('')}|expect-error|nocheck)`),
    reason: 'solve what the tool complains about',
  },
  { pattern: /(?<![\w.])\/(?:work|root|home\/\w+)\//, reason: 'a path of one machine' },
  { pattern: /\b(?:it|test|describe)\.only\(/, reason: 'the other tests would be skipped' },
];

/** Names that say nothing about what is inside. */
export const FORBIDDEN_NAMES: RegExp = /(?:^|\/)(?:utils?|helpers?|types|interfaces)(?:\/|\.ts$)/;
