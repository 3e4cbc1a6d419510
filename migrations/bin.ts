import { TriggerFsError } from '../protocol/errors.ts';
import { formatHelp, parseArguments } from '../runtime/arguments.ts';
import { loadConfig } from '../runtime/config/index.ts';
import { environment } from '../runtime/environment.ts';
import { exitWith } from '../runtime/exit.ts';
import { migrate, migrationStatus } from './runner.ts';

const OPTIONS = {
  config: { kind: 'value', value: 'FILE', doc: 'The configuration file.' },
  status: { kind: 'flag', doc: 'Only show what is applied and what is to come.' },
  help: { kind: 'flag', doc: 'Show this help.' },
} as const;

try {
  const { options } = parseArguments(OPTIONS, process.argv.slice(2));
  if (options.help) {
    process.stdout.write(
      formatHelp('usage: node migrations/bin.ts [OPTIONS]   (database: DATABASE_URL or [control-plane] database)', OPTIONS),
    );
  } else {
    const env = environment();
    const url = loadConfig(env, options.config)['control-plane'].database || env.databaseUrl;
    if (url === undefined || url === '') throw new TriggerFsError('TFS_USAGE', 'no database is named: set DATABASE_URL');
    if (options.status) {
      for (const { name, appliedAt } of await migrationStatus({ url }))
        process.stdout.write(`${name} ${appliedAt?.toISOString() ?? 'to come'}\n`);
    } else {
      for (const name of await migrate({ url })) process.stdout.write(`applied ${name}\n`);
    }
  }
} catch (error) {
  exitWith('migrate', error);
}
