import { randomUUID } from 'node:crypto';
import type { TestContext } from 'node:test';
import type { HookSettings } from '../../protocol/http/gateway.ts';
import { MasterKey, seal, TeamKeys } from '../../runtime/sealing/index.ts';
import { masterKeyFile } from '../support/master-key.ts';
import { until } from '../support/wait.ts';
import type { ServiceSettings } from '../support/world.ts';
import { GatewayStage } from './gateway-stage.ts';

/** A row of the queue, as far as tests look at it. */
export interface QueueRow {
  readonly id: string;
  readonly source: string;
  readonly caller: string;
  readonly service: string;
  readonly plugin: string;
  readonly args: Readonly<Record<string, string>>;
}

/** A stage with webhooks: rows and sealed secrets, as the control-plane writes them. */
export class HookStage {
  readonly stage: GatewayStage;
  readonly keys: TeamKeys;

  private constructor(stage: GatewayStage, keys: TeamKeys) {
    this.stage = stage;
    this.keys = keys;
  }

  static async create(
    t: TestContext,
    options: Parameters<typeof GatewayStage.create>[1] & { service?: ServiceSettings } = {},
  ): Promise<HookStage> {
    const stage = await GatewayStage.create(t, options);
    const store = stage.world.sql as unknown as ConstructorParameters<typeof TeamKeys>[0];
    return new HookStage(stage, new TeamKeys(store, await MasterKey.load(masterKeyFile(), store)));
  }

  /** Adds a hook to the service `svc` and waits until the broker knows it; returns its id. */
  async addHook(name: string, settings: Partial<HookSettings>, secrets: readonly string[]): Promise<number> {
    const { teamId } = this.stage.owner;
    const { rows } = await this.stage.world.sql.query<{ id: number }>(
      `insert into triggerfs.hooks (team_id, service_id, name, settings) select $1, s.id, $2, $3 from triggerfs.services s where s.team_id = $1 and s.name = 'svc' returning id`,
      [teamId, name, JSON.stringify({ plugin: 'echo', ...settings })],
    );
    const { id } = rows[0] as { id: number };
    for (const [index, secret] of secrets.entries()) await this.addSecret(id, secret, index === 0 ? null : '1 hour');
    await this.knows(name, secrets.length);
    return id;
  }

  /** Adds a secret, which ends after an interval or not at all. */
  async addSecret(hook: number, secret: string, life: string | null): Promise<void> {
    const { teamId } = this.stage.owner;
    const id = randomUUID();
    const sealed = seal(await this.keys.current(teamId), `hook-secret|${teamId}|${hook}|${id}`, Buffer.from(secret));
    const sql = 'insert into triggerfs.hook_secrets (id, team_id, hook_id, sealed, ends_at) values ($1, $2, $3, $4, now() + $5::interval)';
    await this.stage.world.sql.query(sql, [id, teamId, hook, sealed, life]);
  }

  /** Waits until the broker has a hook with so many secrets. */
  async knows(name: string, secrets: number): Promise<void> {
    const { broker, owner } = this.stage;
    await until(() => broker.directory.team(owner.teamId)?.hooks.get(name.toLowerCase())?.secrets.length === secrets, {
      what: `the hook ${name}`,
    });
  }

  /** Address of a hook. */
  url(name: string, team = 'alpha'): string {
    return `${this.stage.broker.gatewayUrl}/v1/hooks/${team}/${name}`;
  }

  /** Delivers a body. */
  async deliver(
    url: string,
    body: string,
    headers: Record<string, string>,
  ): Promise<{ status: number; body: Record<string, unknown>; headers: Headers }> {
    const answer = await fetch(url, { method: 'POST', body, headers });
    const text = await answer.text();
    const isJson = (answer.headers.get('content-type') ?? '').includes('json');
    return { status: answer.status, body: isJson ? (JSON.parse(text) as Record<string, unknown>) : { text }, headers: answer.headers };
  }

  /** What was accepted, oldest first. */
  async queued(): Promise<QueueRow[]> {
    return (
      await this.stage.world.sql.query<QueueRow>('select id, source, caller, service, plugin, args from triggerfs.queue_items order by id')
    ).rows;
  }
}
