import assert from 'node:assert/strict';
import { test } from 'node:test';
import { workerToken } from '../../../client/cli/changes/results.ts';
import { parseConfig } from '../../../runtime/config/index.ts';

test('the section that is shown with a token can be put into triggerfs.toml as it is, also for names with a dot', () => {
  for (const [team, identity, header] of [
    ['demo', 'alpha', '[workers.demo.alpha]'],
    ['acme.io', 'web.01', '[workers."acme.io"."web.01"]'],
  ] as const) {
    const lines = workerToken(team, identity, 'a-token');
    const section = lines.slice(lines.indexOf(header));
    assert.equal(section[0], header);
    const { workerCredentials } = parseConfig(section.join('\n'), 'triggerfs.toml');
    assert.equal(workerCredentials.get(team)?.get(identity)?.token, 'a-token');
  }
});
