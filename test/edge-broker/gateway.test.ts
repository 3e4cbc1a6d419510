import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Broker } from '../../edge-broker/broker.ts';
import type { InvocationAnswer } from '../../protocol/http/invocation.ts';
import { FakeWorker, type FakeWorkerOptions } from '../support/fake-worker.ts';
import { type Person, type ServiceSettings, World } from '../support/world.ts';

interface Stage {
  readonly world: World;
  readonly owner: Person;
  readonly broker: Broker;
  readonly workers: readonly FakeWorker[];
  readonly token: string;
}

async function stage(t: TestContext, count = 1, settings: ServiceSettings = {}, options: FakeWorkerOptions = {}): Promise<Stage> {
  const world = await World.create(t);
  const owner = await world.addTeam('alpha');
  const people: Person[] = [];
  for (let i = 1; i <= count; i += 1) people.push(await world.addWorker(owner, `worker${i}`));
  await world.addService(owner, 'svc', { ...settings, workers: people });
  const broker = await world.broker();
  const workers = [];
  for (const person of people) workers.push(await FakeWorker.connect(t, world, person, [broker], options));
  return { world, owner, broker, workers, token: world.token(owner) };
}

test('a JSON body is answered with output, verdict and runs', async (t) => {
  const { broker, token } = await stage(t);
  const response = await fetch(`${broker.gatewayUrl}/v1/invoke/alpha/svc`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ plugin: 'echo', payload: 'hello', timeout: '10s' }),
  });
  const answer = (await response.json()) as InvocationAnswer;
  assert.equal(response.status, 200);
  assert.equal(answer.output, 'hello');
});
