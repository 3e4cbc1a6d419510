import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isArgumentName, isName, isPluginName, isTreePath, MAX_PATH_LENGTH, parseServiceAddress } from '../../protocol/names.ts';

const TRICKS = [
  '',
  '.',
  '..',
  '../../bin/sh',
  '/bin/sh',
  'a/../b',
  'a//b',
  'a\0b',
  'a\nb',
  'a b/',
  ' a',
  'a\u202eb',
  'a\u001b[31m',
  '%2e%2e',
  'a\\b',
  '-rf',
];

test('names of teams, workers and services', () => {
  for (const name of ['demo', 'demo01', 'a', 'web.eu-1', '_x', 'A1', 'x'.repeat(63)]) assert.equal(isName(name), true, name);
  for (const name of [...TRICKS, 'x'.repeat(64), 'ä', 'a/b', '.hidden']) assert.equal(isName(name), false, JSON.stringify(name));
});

test('names of plugins exclude every path trick', () => {
  for (const name of ['echo', 'command/command', 'file/append', 'a_b-c', '9x']) assert.equal(isPluginName(name), true, name);
  for (const name of [...TRICKS, 'a/b/c', '/a', 'a/', 'A/b', 'a.b', './a', 'a/..'])
    assert.equal(isPluginName(name), false, JSON.stringify(name));
});

test('names of arguments', () => {
  for (const name of ['path', 'API_KEY', 'a.b', '_x', 'x-y']) assert.equal(isArgumentName(name), true, name);
  for (const name of [...TRICKS, '1x', 'a=b', 'a/b']) assert.equal(isArgumentName(name), false, JSON.stringify(name));
});

test('paths of the tree are absolute and normalized', () => {
  for (const path of ['/', '/demo', '/demo/command', '/a b/c-1', '/~tmp']) assert.equal(isTreePath(path), true, path);
  for (const path of ['', 'demo', '/demo/', '//demo', '/../etc', '/demo/..', '/demo/./x', '/a\nb', '/a\0', '/a\u001b', '/.hidden', '/ü']) {
    assert.equal(isTreePath(path), false, JSON.stringify(path));
  }
  assert.equal(isTreePath(`/${'a'.repeat(255)}`), true);
  assert.equal(isTreePath(`/${'a'.repeat(256)}`), false);
  assert.equal(isTreePath(`/${'a/'.repeat(MAX_PATH_LENGTH / 2)}a`), false);
});

test('addresses of services', () => {
  assert.deepEqual(parseServiceAddress('demo'), { team: null, service: 'demo' });
  assert.deepEqual(parseServiceAddress('twilio/api'), { team: 'twilio', service: 'api' });
  for (const text of [...TRICKS, 'a/b/c', '/a', 'a/', '/']) assert.equal(parseServiceAddress(text), null, JSON.stringify(text));
});

test('a long name is refused quickly', () => {
  const started = performance.now();
  for (const name of ['a'.repeat(1e6), 'a/'.repeat(5e5), `/${'a/'.repeat(5e5)}`]) {
    assert.equal(isName(name) || isPluginName(name) || isTreePath(name) || parseServiceAddress(name) !== null, false);
  }
  assert.ok(performance.now() - started < 1000);
});
