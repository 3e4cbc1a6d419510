import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { formatOperation } from '../../protocol/configuration/format.ts';
import { isConfiguration, OBJECT_NAMES, type Operation } from '../../protocol/configuration/operations.ts';
import { parseCommand, parseCommands } from '../../protocol/configuration/parse.ts';
import { SETTINGS } from '../../protocol/configuration/settings.ts';
import { describeTeam } from '../../protocol/configuration/team.ts';
import { isPipe, quote, tokenize } from '../../protocol/configuration/tokens.ts';
import { HOOK_DEFAULTS, HTTP_DEFAULTS } from '../../protocol/http/gateway.ts';

/** Commands, what they mean, and how they are printed where that differs. */
const COMMANDS: readonly [command: string, operation: Operation, printed?: string][] = [
  ['set services d http methods get,post', { verb: 'http', object: 'services', name: 'd', change: { methods: ['GET', 'POST'] } }],
  [
    'set services d http methods post,GET',
    { verb: 'http', object: 'services', name: 'd', change: { methods: ['GET', 'POST'] } },
    'set services d http methods get,post',
  ],
  [
    'set services d http map "to=$.repository.full_name"',
    { verb: 'http', object: 'services', name: 'd', change: { args: { to: '$.repository.full_name' } } },
  ],
  [
    'set services d http map n=integer:query.n?=1',
    { verb: 'http', object: 'services', name: 'd', change: { args: { n: 'integer:query.n?=1' } } },
    'set services d http map "n=integer:query.n?=1"',
  ],
  ['set services d http payload form.Body', { verb: 'http', object: 'services', name: 'd', change: { payload: 'form.Body' } }],
  ['set services d http anonymous on', { verb: 'http', object: 'services', name: 'd', change: { anonymous: true } }],
  ['set services d http rate 10/s', { verb: 'http', object: 'services', name: 'd', change: { rate: '10/s' } }],
  [
    'set services d http origins https://a.example,http://localhost:3000',
    { verb: 'http', object: 'services', name: 'd', change: { origins: ['https://a.example', 'http://localhost:3000'] } },
  ],
  ['set services d http answer raw', { verb: 'http', object: 'services', name: 'd', change: { answer: 'raw' } }],
  [
    'set services d http answer raw text/html',
    { verb: 'http', object: 'services', name: 'd', change: { answer: 'raw', contentType: 'text/html' } },
  ],
  ['set services d http status 3=404', { verb: 'http', object: 'services', name: 'd', change: { statuses: { '3': 404 } } }],
  [
    'set services d http header "Cache-Control=max-age=60, public"',
    { verb: 'http', object: 'services', name: 'd', change: { headers: { 'cache-control': 'max-age=60, public' } } },
    'set services d http header "cache-control=max-age=60, public"',
  ],
  ['delete services d http map to', { verb: 'http', object: 'services', name: 'd', change: { args: { to: null } } }],
  ['delete services d http map', { verb: 'http', object: 'services', name: 'd', change: { args: null } }],
  ['delete services d http anonymous', { verb: 'http', object: 'services', name: 'd', change: { anonymous: null } }],
  ['delete services d http', { verb: 'http', object: 'services', name: 'd', change: null }],
  ['set services d http hook push', { verb: 'hook', object: 'services', name: 'd', hook: 'push', change: {} }],
  [
    'set services d http hook push scheme github',
    { verb: 'hook', object: 'services', name: 'd', hook: 'push', change: { scheme: 'github' } },
  ],
  [
    'set services d http hook push tolerance 2m',
    { verb: 'hook', object: 'services', name: 'd', hook: 'push', change: { toleranceMs: 120_000 } },
    'set services d http hook push tolerance 120s',
  ],
  ['delete services d http hook push map x', { verb: 'hook', object: 'services', name: 'd', hook: 'push', change: { args: { x: null } } }],
  ['delete services d http hook push', { verb: 'hook', object: 'services', name: 'd', hook: 'push', change: null }],
  ['set workers identity demo01', { verb: 'create', object: 'workers', name: 'demo01', settings: {} }],
  [
    'set workers demo01 description "the first one"',
    { verb: 'change', object: 'workers', name: 'demo01', settings: { description: 'the first one' } },
  ],
  ['delete workers demo01', { verb: 'delete', object: 'workers', name: 'demo01' }],
  ['rename workers demo01 to demo02', { verb: 'rename', object: 'workers', name: 'demo01', to: 'demo02' }],
  ['set services name demoservice', { verb: 'create', object: 'services', name: 'demoservice', settings: {} }],
  [
    'set service demoservice algorithm mirror timeout 90s',
    { verb: 'change', object: 'services', name: 'demoservice', settings: { algorithm: 'mirror', timeoutMs: 90_000 } },
    'set services demoservice algorithm mirror timeout 90s',
  ],
  [
    'set services demoservice timeout 5000ms',
    { verb: 'change', object: 'services', name: 'demoservice', settings: { timeoutMs: 5000 } },
    'set services demoservice timeout 5s',
  ],
  ['set services demoservice window 2', { verb: 'change', object: 'services', name: 'demoservice', settings: { window: '2' } }],
  ['set services demoservice max_errors 25%', { verb: 'change', object: 'services', name: 'demoservice', settings: { maxErrors: '25%' } }],
  [
    'set services demoservice failover always',
    { verb: 'change', object: 'services', name: 'demoservice', settings: { failover: 'always' } },
  ],
  ['set services demoservice queue_limit 0', { verb: 'change', object: 'services', name: 'demoservice', settings: { queueLimit: 0 } }],
  [
    'set services demoservice visibility public',
    { verb: 'change', object: 'services', name: 'demoservice', settings: { visibility: 'public' } },
  ],
  ['set services demoservice history output', { verb: 'change', object: 'services', name: 'demoservice', settings: { history: 'output' } }],
  [
    'delete services demoservice timeout',
    { verb: 'change', object: 'services', name: 'demoservice', settings: { timeoutMs: 30_000 } },
    'set services demoservice timeout 30s',
  ],
  [
    'set services demoservice workers add demo01',
    { verb: 'attach', object: 'services', name: 'demoservice', list: 'workers', item: 'demo01' },
  ],
  [
    'set services demoservice workers remove demo01',
    { verb: 'detach', object: 'services', name: 'demoservice', list: 'workers', item: 'demo01' },
  ],
  [
    'delete services demoservice workers demo01',
    { verb: 'detach', object: 'services', name: 'demoservice', list: 'workers', item: 'demo01' },
    'set services demoservice workers remove demo01',
  ],
  [
    'set services demoservice plugins add command/command',
    { verb: 'attach', object: 'services', name: 'demoservice', list: 'plugins', item: 'command/command' },
  ],
  ['set services demoservice plugins none', { verb: 'change', object: 'services', name: 'demoservice', settings: { plugins: [] } }],
  [
    'delete services demoservice plugins',
    { verb: 'change', object: 'services', name: 'demoservice', settings: { plugins: null } },
    'set services demoservice plugins all',
  ],
  [
    'set trigger name /newtrigger/demotrigger',
    { verb: 'create', object: 'triggers', name: '/newtrigger/demotrigger', settings: {} },
    'set triggers name /newtrigger/demotrigger',
  ],
  [
    'set trigger demotrigger plugin command/command',
    { verb: 'change', object: 'triggers', name: 'demotrigger', settings: { plugin: 'command/command' } },
    'set triggers demotrigger plugin command/command',
  ],
  [
    'set triggers demotrigger service attach demoservice',
    { verb: 'attach', object: 'triggers', name: 'demotrigger', list: 'service', item: 'demoservice' },
  ],
  [
    'set triggers demotrigger service detach demoservice',
    { verb: 'detach', object: 'triggers', name: 'demotrigger', list: 'service', item: 'demoservice' },
  ],
  ['set triggers demotrigger service detach', { verb: 'change', object: 'triggers', name: 'demotrigger', settings: { service: null } }],
  ['delete triggers demotrigger plugin', { verb: 'change', object: 'triggers', name: 'demotrigger', settings: { plugin: null } }],
  ['delete triggers demotrigger timeout', { verb: 'change', object: 'triggers', name: 'demotrigger', settings: { timeoutMs: null } }],
  [
    'set triggers demotrigger args text="a | b = \\"c\\"\\n"',
    { verb: 'argument', object: 'triggers', name: 'demotrigger', key: 'text', value: 'a | b = "c"\n' },
  ],
  ['set triggers demotrigger args empty=""', { verb: 'argument', object: 'triggers', name: 'demotrigger', key: 'empty', value: '' }],
  ['set schedules name nightly', { verb: 'create', object: 'schedules', name: 'nightly', settings: {} }],
  [
    'set schedule nightly cron "0 3 * * *" timezone America/New_York',
    { verb: 'change', object: 'schedules', name: 'nightly', settings: { cron: '0 3 * * *', timezone: 'America/New_York' } },
    'set schedules nightly timezone America/New_York cron "0 3 * * *"',
  ],
  ['set schedules nightly every 90s', { verb: 'change', object: 'schedules', name: 'nightly', settings: { everyMs: 90_000 } }],
  [
    'set schedules nightly at 2026-12-24T18:00',
    { verb: 'change', object: 'schedules', name: 'nightly', settings: { runAt: '2026-12-24T18:00' } },
  ],
  [
    'set schedules nightly trigger /demo/command',
    { verb: 'change', object: 'schedules', name: 'nightly', settings: { trigger: '/demo/command' } },
  ],
  [
    'set schedules nightly service demo plugin command/command payload "uptime\\n"',
    { verb: 'change', object: 'schedules', name: 'nightly', settings: { service: 'demo', plugin: 'command/command', payload: 'uptime\n' } },
  ],
  ['set schedules nightly args key="a b"', { verb: 'argument', object: 'schedules', name: 'nightly', key: 'key', value: 'a b' }],
  ['delete schedules nightly args key', { verb: 'argument', object: 'schedules', name: 'nightly', key: 'key', value: null }],
  [
    'set schedules nightly catchup all catchup_window 2d overlap queue jitter 0s resident demo01 enabled off',
    {
      verb: 'change',
      object: 'schedules',
      name: 'nightly',
      settings: { catchup: 'all', catchupWindowMs: 172_800_000, overlap: 'queue', jitterMs: 0, resident: 'demo01', enabled: false },
    },
  ],
  ['delete schedules nightly service', { verb: 'change', object: 'schedules', name: 'nightly', settings: { service: null } }],
  ['delete schedules nightly paused_until', { verb: 'change', object: 'schedules', name: 'nightly', settings: { pausedUntil: null } }],
  ['delete schedules nightly', { verb: 'delete', object: 'schedules', name: 'nightly' }],
  ['rename schedules nightly to weekly', { verb: 'rename', object: 'schedules', name: 'nightly', to: 'weekly' }],
  ['delete triggers demotrigger args text', { verb: 'argument', object: 'triggers', name: 'demotrigger', key: 'text', value: null }],
  [
    'set triggers /a/b mode 0600 framing line durability fsync',
    { verb: 'change', object: 'triggers', name: '/a/b', settings: { mode: 0o600, framing: 'line', durability: 'fsync' } },
    'set triggers /a/b mode 0600 framing line durability fsync',
  ],
  ['set triggers /a/b history off', { verb: 'change', object: 'triggers', name: '/a/b', settings: { history: 'off' } }],
  [
    'set triggers /a/b history service',
    { verb: 'change', object: 'triggers', name: '/a/b', settings: { history: null } },
    'delete triggers /a/b history',
  ],
  ['set directories path /newtrigger', { verb: 'create', object: 'directories', name: '/newtrigger', settings: {} }],
  ['set directories /x mode 1755', { verb: 'change', object: 'directories', name: '/x', settings: { mode: 0o1755 } }],
  ['rename directories "/with blank" to /x', { verb: 'rename', object: 'directories', name: '/with blank', to: '/x' }],
  [
    'set teams description "ours"',
    { verb: 'change', object: 'teams', name: '', settings: { description: 'ours' } },
    'set teams description ours',
  ],
  ['rename teams a to b', { verb: 'rename', object: 'teams', name: 'a', to: 'b' }],
  ['set users hp role admin', { verb: 'change', object: 'users', name: 'hp', settings: { role: 'admin' } }],
  [
    'set invites email hp@example.com role member',
    { verb: 'create', object: 'invites', name: 'hp@example.com', settings: { role: 'member' } },
  ],
  ['set tokens name ci scopes read,write', { verb: 'create', object: 'tokens', name: 'ci', settings: { scopes: ['read', 'write'] } }],
  ['set workers "identity" description x', { verb: 'change', object: 'workers', name: 'identity', settings: { description: 'x' } }],
];

const WRONG: readonly [command: string, message: RegExp][] = [
  ['show workers', /expected set, delete, rename, not show/],
  ['set', /the kind of object is missing/],
  ['set plants x', /there are no plants; expected teams, /],
  ['set workers', /the name of the worker is missing/],
  ['set workers demo01', /what of it is to be set\? description/],
  ['set workers demo01 color red', /expected description, not color/],
  ['set workers identity a/b', /"a\/b" is no name/],
  ['set workers identity demo01 demo02', /expected description, not demo02/],
  ['set workers demo01 description two words', /expected description, not words/],
  ['set workers demo01 description "open', /the quote at character 32 is not closed/],
  ['set workers demo01 description a|b', /quote the text with "\|" at character 33/],
  ['set workers demo01 description "a\nb"', /a command is one line/],
  [`set workers demo01 description ${'x'.repeat(1001)}`, /at most 1000 characters, not 1001/],
  ['set services demo algorithm random', /algorithm is roundrobin, serial or mirror, not random/],
  ['set services demo timeout 8d', /at most 7d, not 8d/],
  ['set services demo timeout 0', /a timeout is a duration/],
  ['set services demo window 0', /neither a number of workers/],
  ['set services demo max_errors 101%', /neither a number of workers/],
  ['set services demo queue_limit 1000001', /from 0 to 1000000/],
  ['set services demo workers demo01', /expected add, remove, not demo01/],
  ['set services demo plugins add ../x', /no name of a plugin/],
  ['set services demo __proto__ x', /expected description, algorithm/],
  ['set schedules x every 500ms', /every is a duration .* 1s to 366d, not 500ms/],
  ['set schedules x at tomorrow', /tomorrow is not a time such as/],
  ['set schedules x timezone +02:00', /is not a time zone/],
  ['set schedules x enabled yes', /enabled is on or off, not yes/],
  ['set schedules x retries 101', /from 0 to 100/],
  ['set schedules x trigger command', /is not the path of a trigger/],
  ['set schedules x overlap never', /overlap is skip, queue or allow/],
  ['set trigger name demotrigger', /no path of the file tree/],
  ['set trigger name /a/../b', /no path of the file tree/],
  ['set trigger .x plugin echo', /no path of the file tree/],
  ['set trigger t plugin Echo', /no name of a plugin/],
  ['set trigger t args novalue', /key=value, not novalue/],
  ['set trigger t args ä=1', /no name of an argument/],
  ['set trigger t mode 0999', /a mode is octal/],
  ['delete workers a b', /expected description, not b/],
  ['delete users hp role', /role cannot be deleted/],
  ['rename workers a b', /expected to, not b/],
  ['rename users a to b', /users cannot be renamed/],
  ['rename workers a to b c', /c is too much at the end/],
  ['set tokens name x scopes read,read', /each once/],
];

suite('configuration commands', () => {
  for (const [command, operation, printed] of COMMANDS) {
    test(command, () => {
      assert.deepEqual(parseCommand(command), operation);
      assert.equal(formatOperation(operation), printed ?? command);
      assert.deepEqual(parseCommand(formatOperation(operation)), operation);
    });
  }

  for (const [command, message] of WRONG) {
    test(`refused: ${command.slice(0, 60)}`, () => {
      assert.throws(() => parseCommand(command), { name: 'TriggerFsError', message });
    });
  }

  test('a text has lines, comments and empty lines; an error names its line and command', () => {
    const text = ['# a team', '', '  set workers identity a  ', '#', 'delete workers a'];
    assert.deepEqual(
      parseCommands(text).map(({ line, command }) => [line, command]),
      [
        [3, 'set workers identity a'],
        [5, 'delete workers a'],
      ],
    );
    assert.throws(() => parseCommands([...text, 'set nothing']), {
      code: 'TFS_USAGE',
      message: /^line 6, "set nothing": there are no nothing/,
    });
  });

  test('a new team and people are no configuration', () => {
    const is = (command: string): boolean => isConfiguration(parseCommand(command) as Operation);
    for (const command of ['set workers identity a', 'set teams description x', 'rename teams a to b']) assert.ok(is(command), command);
    for (const command of ['set teams name x', 'delete teams x', 'set users hp role admin', 'set invites email a@b.c', 'delete tokens x'])
      assert.ok(!is(command), command);
  });

  test('every setting prints what it reads, and its initial value is one it takes', () => {
    for (const object of OBJECT_NAMES) {
      for (const [word, { initial, parse, format, choices }] of Object.entries(SETTINGS[object])) {
        for (const value of choices ?? []) assert.equal(format(parse(value)), value, word);
        if (initial !== undefined && initial !== null) assert.deepEqual(parse(format(initial)), initial, `${object} ${word}`);
      }
    }
  });
});

suite('words of a command', () => {
  const texts = (line: string): string[] => tokenize(line).map(({ text }) => text);

  test('quotes and backslashes', () => {
    assert.deepEqual(texts(`a  'b c'"d e"f\\ g\th`), ['a', 'b cd ef g', 'h']);
    assert.deepEqual(texts('"\\n\\t\\r\\"\\\\\\u00e9\\d"'), ['\n\t\r"\\é\\d']);
    assert.deepEqual(texts(`'\\n' ""`), ['\\n', '']);
    assert.deepEqual(texts('a\\'), ['a\\']);
  });

  test('positions, and pipes that stand for themselves', () => {
    assert.deepEqual(tokenize(' ab|"c" '), [
      { text: 'ab', quoted: false, start: 1, end: 3 },
      { text: '|', quoted: false, start: 3, end: 4 },
      { text: 'c', quoted: true, start: 4, end: 7 },
    ]);
    assert.deepEqual(tokenize('a | "|" \\|').map(isPipe), [false, true, false, false]);
  });

  test('an open quote is an error, or for completion the end of the line', () => {
    assert.throws(() => tokenize(`a 'b`), { code: 'TFS_USAGE' });
    assert.deepEqual(
      tokenize(`a "b c`, { partial: true }).map(({ text }) => text),
      ['a', 'b c'],
    );
  });

  test('whatever is quoted comes back as one word on one printable line', () => {
    const odd = [
      '',
      ' ',
      '|',
      '#',
      '"',
      "'",
      '\\',
      '\\b',
      'a b',
      'ä€😀',
      '\0\b\f\v\n\r\t\u001b[31m',
      '\u0085\u2028\u202e\u009b',
      '\\u0041',
      '-x',
    ];
    for (const text of [...odd, ...odd.flatMap((a) => odd.map((b) => a + b))]) {
      const written = quote(text);
      assert.deepEqual(texts(`x ${written} y`), ['x', text, 'y']);
      assert.doesNotMatch(written, /[\p{Cc}\u2028\u202e]/u);
    }
  });
});

const HOOK = { ...HOOK_DEFAULTS, name: 'push', scheme: 'github' as const, args: { branch: '$.ref', event: 'header.x-github-event' } };
const PAGE = {
  ...HTTP_DEFAULTS,
  methods: ['GET' as const, 'POST' as const],
  answer: 'raw' as const,
  contentType: 'text/html',
  statuses: { '3': 404 },
};

test('a described team is rebuilt in order, saying only what differs from a new object', () => {
  const team = {
    description: 'ours',
    directories: [
      { path: '/b/c', mode: 0o775 },
      { path: '/b', mode: 0o700 },
    ],
    workers: [
      { identity: 'w2', description: '' },
      { identity: 'w1', description: 'first' },
    ],
    services: [
      {
        name: 'open',
        visibility: 'public',
        workers: ['w1', 'w2'],
        plugins: ['b', 'a'],
        timeoutMs: 30_000,
        maxErrors: '0',
        id: 7,
        http: PAGE,
        hooks: [HOOK],
      },
      { name: 'closed', visibility: 'local', workers: [], plugins: [], http: HTTP_DEFAULTS, hooks: [] },
    ],
    triggers: [{ path: '/b/c/t', service: 'open', args: { z: '1', a: 'x y' }, plugin: 'a', timeoutMs: null, mode: 0o644, hits: 4 }],
    schedules: [
      {
        name: 'twice',
        cron: null,
        everyMs: 43_200_000,
        service: 'open',
        plugin: 'a',
        args: { b: '2', a: '1' },
        enabled: false,
        overlap: 'skip',
      },
      {
        name: 'once',
        cron: null,
        everyMs: null,
        runAt: '2026-12-24T23:00:00.000Z',
        timezone: 'America/New_York',
        trigger: '/b/c/t',
        payload: 'a "b"',
        args: {},
        enabled: true,
        nextRunAt: '2026-12-24T23:00:00.000Z',
      },
    ],
  };
  const commands = describeTeam(team).map(formatOperation);
  assert.deepEqual(commands, [
    'set teams description ours',
    'set directories path /b',
    'set directories /b mode 0700',
    'set directories path /b/c',
    'set workers identity w1',
    'set workers w1 description first',
    'set workers identity w2',
    'set services name closed',
    'set services closed plugins none',
    'set services name open',
    'set services open plugins add b',
    'set services open plugins add a',
    'set services open max_errors 0',
    'set services open visibility public',
    'set services open workers add w1',
    'set services open workers add w2',
    'set services open http methods get,post',
    'set services open http answer raw text/html',
    'set services open http status 3=404',
    'set services open http hook push',
    'set services open http hook push scheme github',
    'set services open http hook push map "branch=$.ref"',
    'set services open http hook push map event=header.x-github-event',
    'set triggers name /b/c/t',
    'set triggers /b/c/t plugin a',
    'set triggers /b/c/t service attach open',
    'set triggers /b/c/t args a="x y"',
    'set triggers /b/c/t args z=1',
    'set schedules name once',
    'set schedules once timezone America/New_York',
    'set schedules once at 2026-12-24T23:00:00.000Z',
    'set schedules once trigger /b/c/t',
    'set schedules once payload "a \\"b\\""',
    'set schedules name twice',
    'set schedules twice every 12h',
    'set schedules twice service open',
    'set schedules twice plugin a',
    'set schedules twice enabled off',
    'set schedules twice args a=1',
    'set schedules twice args b=2',
  ]);
  assert.deepEqual(commands.map(parseCommand), describeTeam(team));
});
