/** The parts of the process environment that triggerFS looks at. No other file reads `process.env`. */
export interface Environment {
  /** `TRIGGERFS_CONFIG`: the configuration file. */
  readonly configFile: string | undefined;
  /** `DATABASE_URL`: PostgreSQL of the machine's owner; the embedded one when absent. */
  readonly databaseUrl: string | undefined;
  readonly home: string | undefined;
  readonly cacheHome: string | undefined;
  readonly path: string;
  readonly lang: string | undefined;
  /** `NO_COLOR` is set to anything. */
  readonly noColor: boolean;
  readonly ci: boolean;
  readonly libraryPath: string | undefined;
  /** The person's shell. */
  readonly shell: string | undefined;
  /** `TRIGGERFS_LOG_LEVEL`: pino level, default `info`. */
  readonly logLevel: string | undefined;
}

/** Reads the environment of this process. */
export function environment(): Environment {
  const env = process.env;
  return {
    configFile: env.TRIGGERFS_CONFIG,
    databaseUrl: env.DATABASE_URL,
    home: env.HOME,
    cacheHome: env.XDG_CACHE_HOME,
    path: env.PATH ?? '/usr/local/bin:/usr/bin:/bin',
    lang: env.LANG,
    noColor: env.NO_COLOR !== undefined && env.NO_COLOR !== '',
    ci: env.CI !== undefined && env.CI !== '' && env.CI !== 'false',
    libraryPath: env.LD_LIBRARY_PATH,
    shell: env.SHELL,
    logLevel: env.TRIGGERFS_LOG_LEVEL,
  };
}

/** Environment for a child of our own kind: everything inherited, plus the given variables. */
export function childEnvironment(extra: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  return { ...process.env, ...extra };
}
