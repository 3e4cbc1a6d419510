import { compareConfigurations } from '../../../protocol/configuration/compare.ts';
import { parseCommand } from '../../../protocol/configuration/parse.ts';
import type { ConfigurationCheck, ConfigurationView } from '../../../protocol/http/configuration.ts';
import type { Call } from '../command.ts';
import { type Answer, text } from '../screen/answer.ts';
import { check } from './apply.ts';

const SIGNS = { removed: '-', added: '+' } as const;

/**
 * What the candidate makes of the configuration (of the one `back` commits ago where that is not 0): the lines of the resulting
 * text that go and come, object by object.
 */
export async function compare(call: Call, back: number): Promise<Answer> {
  const { candidate } = call.shell;
  const running = await call.connection.call<ConfigurationView>({ method: 'GET', path: '/v1/configuration', signal: call.signal });
  const { version } = running;
  const tried = async (body: ConfigurationCheck): Promise<readonly string[]> => (await check(call, { ...body, version })).commands;
  const before = back === 0 ? running.commands : await tried({ rollback: back });
  const after = candidate.length === 0 ? running.commands : await tried({ commands: [...candidate] });
  const objects = compareConfigurations(before, after);
  const lines = objects.flatMap(({ object, lines: changed }) => [
    `[edit ${object}]`,
    ...changed.map(({ change, command }) => `${SIGNS[change]} ${command}`),
  ]);
  return text([...renamedTeam(candidate), ...lines], objects);
}

/** The name of the team is no part of its text, so that the text can be loaded into another team. */
function renamedTeam(candidate: readonly string[]): string[] {
  const renames = candidate.filter((command) => {
    const operation = parseCommand(command);
    return operation?.verb === 'rename' && operation.object === 'teams';
  });
  return renames.length === 0 ? [] : ['[edit teams]', ...renames.map((command) => `! ${command}`)];
}
