import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { mayRecord } from '../../edge-broker/session/permissions.ts';
import { ALGORITHMS } from '../../protocol/algorithms.ts';
import { RECORD_HEADER_BYTES } from '../../protocol/batch.ts';
import { Announce, Hello, Renew, Route, Unroute } from '../../protocol/control.ts';
import { LIMITS } from '../../protocol/limits.ts';
import { INVOCATION_ID_BYTES, Layout, RecordFlag, RecordType } from '../../protocol/records.ts';
import { VERDICT_NAMES } from '../../protocol/verdicts.ts';
import { PROTOCOL_VERSION } from '../../protocol/version.ts';
import { readTable } from '../support/markdown.ts';
import { exampleBatches } from '../support/protocol-example.ts';

const document = readFileSync(join(import.meta.dirname, '..', '..', 'protocol', 'README.md'), 'utf8');

test('the version and the record header are those of the code', () => {
  assert.ok(document.includes(`protocol version, \`0x${PROTOCOL_VERSION.toString(16).padStart(2, '0')}\``));
  assert.deepEqual(
    readTable(document, ['field', 'offset', 'size', 'meaning']).map(([field, offset]) => [field, offset]),
    [
      ['version', '0'],
      ['length', '+0'],
      ['type', '+4'],
      ['flags', '+5'],
      ['body', `+${RECORD_HEADER_BYTES}`],
    ],
  );
});

const recordTable = readTable(document, ['type', 'name', 'from', 'body', 'purpose']);

test('the document lists every record type with its number', () => {
  const documented = recordTable.map(([type, name]) => [name, Number(type)]);
  assert.deepEqual(
    documented,
    Object.entries(RecordType).map(([name, number]) => [name.toUpperCase(), number]),
  );
});

test('who may send a record is what the broker allows', () => {
  for (const [type, name, from = ''] of recordTable) {
    for (const role of ['client', 'worker'] as const) {
      const documented = from === 'all' || from.split(', ').includes(role);
      // HELLO is said before there is a role.
      const allowed = name === 'HELLO' ? mayRecord('new', Number(type)) : mayRecord(role, Number(type));
      assert.equal(documented, allowed, `${name} from ${role}`);
    }
  }
});

test('every fixed record has a layout in the document, and the other way round', () => {
  const rows = readTable(document, ['record', 'field', 'offset', 'size', 'meaning']);
  const documented: Record<string, Record<string, number>> = {};
  for (const [record = '', field = '', offset] of rows) {
    documented[record] ??= {};
    (documented[record] as Record<string, number>)[field] = Number(offset);
  }
  const inCode = Object.fromEntries(
    Object.entries(Layout).map(([record, fields]) => [
      record.toUpperCase(),
      Object.fromEntries(Object.entries(fields).filter(([field]) => field !== 'end')),
    ]),
  );
  assert.deepEqual(documented, inCode);
  const fixed = recordTable.filter(([, , , body]) => body === 'fixed').map(([, name]) => name);
  assert.deepEqual([...fixed].sort(), [...Object.keys(inCode), 'PONG'].sort());
});

test('sizes of fields reach from one offset to the next', () => {
  const rows = readTable(document, ['record', 'field', 'offset', 'size', 'meaning']);
  rows.forEach(([record, field, offset, size], index) => {
    const next = rows[index + 1];
    if (next === undefined || next[0] !== record) return;
    // RESULT has a byte of padding after signal.
    const gap = field === 'signal' ? 1 : 0;
    assert.equal(Number(offset) + Number(size) + gap, Number(next[2]), `${record} ${field}`);
    if (field === 'invocation') assert.equal(Number(size), INVOCATION_ID_BYTES);
  });
});

test('flags', () => {
  const documented = readTable(document, ['record', 'bit', 'name', 'meaning']).map(([, bit, name]) => [name, Number(bit)]);
  assert.deepEqual(documented, Object.entries(RecordFlag));
});

test('members of the JSON records that brokers check', () => {
  const rows = new Map(readTable(document, ['name', 'members']).map(([name, members]) => [name, members ?? '']));
  const json = recordTable.filter(([, , , body]) => body === 'JSON').map(([, name]) => name);
  assert.deepEqual([...rows.keys()].sort(), json.sort());
  for (const [name, schema] of Object.entries({ HELLO: Hello, RENEW: Renew, ROUTE: Route, UNROUTE: Unroute, ANNOUNCE: Announce })) {
    const outside = (rows.get(name) ?? '').replaceAll(/\([^)]*\)/g, '');
    const documented = [...outside.matchAll(/`([a-zA-Z]+)(\?)?`/g)].map(([, member, optional]) => ({ member, optional: optional === '?' }));
    const required = new Set<string>(schema.required);
    const inCode = Object.keys(schema.properties).map((member) => ({ member, optional: !required.has(member) }));
    assert.deepEqual(documented, inCode, name);
  }
});

test('verdicts, algorithms and limits', () => {
  const names = (header: string[]): string[] =>
    readTable(document, header).map(([number, name], index) => {
      assert.equal(Number(number), index);
      return name ?? '';
    });
  assert.deepEqual(names(['verdict', 'name', 'meaning']), [...VERDICT_NAMES]);
  assert.deepEqual(names(['algorithm', 'name', 'meaning']), [...ALGORITHMS]);
  const limits = readTable(document, ['limit', 'value', 'what']).map(([name, value]) => [name, Number(value)]);
  assert.deepEqual(limits, Object.entries(LIMITS));
});

test('the example is what the code writes', () => {
  const shown = new Map([...document.matchAll(/```hex ([a-z-]+)\n([\s\S]*?)```/g)].map(([, name, text]) => [name, hexOf(text ?? '')]));
  const batches = exampleBatches();
  assert.deepEqual([...shown.keys()], ['client-to-broker', 'broker-to-worker', 'worker-to-broker', 'broker-to-client']);
  assert.equal(shown.get('client-to-broker'), batches.clientToBroker.toString('hex'));
  assert.equal(shown.get('broker-to-worker'), batches.brokerToWorker.toString('hex'));
  assert.equal(shown.get('worker-to-broker'), batches.workerToBroker.toString('hex'));
  assert.equal(shown.get('broker-to-client'), batches.brokerToClient.toString('hex'));
});

function hexOf(text: string): string {
  return text.replaceAll(/#.*$/gm, '').replaceAll(/\s/g, '');
}
