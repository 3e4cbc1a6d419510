import { randomUUID } from 'node:crypto';
import type { TestContext } from 'node:test';
import pg from 'pg';
import {
  BLOCK_BYTES,
  BLOCK_FRAMED_BYTES,
  historyDay,
  outputAad,
  payloadAad,
  writeBlockHead,
  writeFrame,
} from '../../protocol/history-block.ts';
import type { InvocationSource } from '../../protocol/http/history.ts';
import { MasterKey, seal, TeamKeys } from '../../runtime/sealing/index.ts';
import { formatInvocationId, InvocationIds } from '../../runtime/wire/invocation-id.ts';
import { masterKeyFile } from '../support/master-key.ts';

/** An invocation as tests write it; what is left out is ordinary. */
export interface Written {
  readonly id?: string;
  readonly team?: string;
  readonly service?: string;
  readonly plugin?: string;
  readonly source?: InvocationSource;
  readonly caller?: string;
  readonly trigger?: number;
  readonly args?: Record<string, string>;
  readonly payload?: Buffer | null;
  readonly payloadBytes?: number;
  readonly acceptedAt?: Date;
  readonly endedAt?: Date;
  /** Null: it runs. */
  readonly verdict?: string | null;
  readonly outputBytes?: number;
  readonly item?: string;
}

/** A piece of output: bytes, and whether they are stderr. */
export type Frame = readonly [data: string | Buffer, stderr?: boolean];

const ids = new InvocationIds();

/** Writes history rows as a broker does, without one. */
export class HistoryWriter {
  readonly #client: pg.Client;
  readonly #keys: TeamKeys;
  readonly #teams = new Map<string, number>();

  private constructor(client: pg.Client, keys: TeamKeys) {
    this.#client = client;
    this.#keys = keys;
  }

  static async open(t: Pick<TestContext, 'after'>, databaseUrl: string): Promise<HistoryWriter> {
    const client = new pg.Client({ connectionString: databaseUrl });
    await client.connect();
    t.after(() => client.end());
    const store = { query: client.query.bind(client) } as Pick<pg.Pool, 'query'>;
    return new HistoryWriter(client, new TeamKeys(store, await MasterKey.load(masterKeyFile(), store)));
  }

  async sql<T extends pg.QueryResultRow>(sql: string, values: readonly unknown[] = []): Promise<T[]> {
    return (await this.#client.query<T>(sql, [...values])).rows;
  }

  async team(name: string): Promise<number> {
    const known = this.#teams.get(name);
    if (known !== undefined) return known;
    const [row] = await this.sql<{ id: number }>('select id from triggerfs.teams where name = $1', [name]);
    this.#teams.set(name, row?.id ?? 0);
    return row?.id ?? 0;
  }

  /** Adds an invocation without runs; returns its id. */
  async invocation(written: Written = {}): Promise<string> {
    const { team = 'a', acceptedAt = new Date(), verdict = 'ok', payload = null } = written;
    const id = written.id ?? formatInvocationId(ids.next());
    const teamId = await this.team(team);
    const sealed = payload === null ? null : seal(await this.#keys.current(teamId), payloadAad(teamId, id), payload);
    await this.#client.query(
      `insert into triggerfs.invocations (day, id, team_id, broker_id, service, plugin, algorithm, source, caller, trigger_id, args, payload,
         payload_bytes, timeout_ms, deadline_at, expected, accepted_at, taken_at, ended_at, verdict, exit_code, output_bytes, item_id)
       values ($1, $2, $3, $4, $5, $6, 'roundrobin', $7, $8, $9, $10, $11, $12, 30000, $13::timestamptz + interval '30 s', 1, $13, $13, $14, $15, $16, $17, $18)`,
      [
        dayOf(id, acceptedAt),
        id,
        teamId,
        randomUUID(),
        written.service ?? 's',
        written.plugin ?? 'echo',
        written.source ?? 'client',
        written.caller ?? 'member-a',
        written.trigger ?? null,
        JSON.stringify(written.args ?? {}),
        sealed,
        written.payloadBytes ?? payload?.length ?? 0,
        acceptedAt,
        verdict === null ? null : (written.endedAt ?? new Date(acceptedAt.getTime() + 20)),
        verdict,
        verdict === null ? null : verdict === 'ok' ? 0 : 1,
        written.outputBytes ?? 0,
        written.item ?? null,
      ],
    );
    return id;
  }

  /** Adds a run. `takenAt`: when its broker took the invocation, if that is not when it was accepted. */
  async run(
    id: string,
    worker: { id: number; identity: string },
    options: { verdict?: string | null; attempt?: number; startedAt?: Date; takenAt?: Date; team?: string } = {},
  ): Promise<void> {
    const { verdict = 'ok', attempt = 1, startedAt = new Date() } = options;
    await this.#client.query(
      `insert into triggerfs.runs (day, invocation_id, team_id, worker_id, identity, attempt, accepted_at, verdict, exit_code, signal,
         started_at, ended_at, duration_us)
       values ($1, $2, $3, $4, $5, $6,
         coalesce($11, (select i.accepted_at from triggerfs.invocations i where i.id = $2 and i.day = $1 and i.team_id = $3), $9),
         $7, $8, 0, $9, $10, 1500)`,
      [
        dayOf(id, startedAt),
        id,
        await this.team(options.team ?? 'a'),
        worker.id,
        worker.identity,
        attempt,
        verdict,
        verdict === null ? null : verdict === 'ok' ? 0 : 1,
        startedAt,
        verdict === null ? null : new Date(startedAt.getTime() + 10),
        options.takenAt ?? null,
      ],
    );
  }

  /** Adds one block of a run's output. */
  async block(
    id: string,
    workerId: number,
    block: number,
    frames: readonly Frame[],
    options: { at?: Date; attempt?: number; gap?: boolean; team?: string } = {},
  ): Promise<void> {
    const { at = new Date(), attempt = 1 } = options;
    const teamId = await this.team(options.team ?? 'a');
    const plain = Buffer.alloc(BLOCK_FRAMED_BYTES);
    let end = writeBlockHead(plain);
    let bytes = 0;
    frames.forEach(([data, stderr = false], index) => {
      const source = Buffer.from(data);
      bytes += source.length;
      end = writeFrame(plain, end, { stderr, sequence: block * 100 + index, offsetMs: index }, source, 0, source.length);
    });
    const sealed = seal(await this.#keys.current(teamId), outputAad(teamId, id, workerId, attempt, block), plain.subarray(0, end));
    await this.#client.query(
      `insert into triggerfs.outputs (day, invocation_id, team_id, worker_id, attempt, block, first_sequence, bytes, at, data, gap)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
      [dayOf(id, at), id, teamId, workerId, attempt, block, block * 100, bytes, at, sealed, options.gap ?? false],
    );
  }

  /** Adds output of any size as blocks of one stream; returns how many. */
  async output(id: string, workerId: number, data: Buffer): Promise<number> {
    let block = 0;
    for (let at = 0; at < data.length; at += BLOCK_BYTES) await this.block(id, workerId, block++, [[data.subarray(at, at + BLOCK_BYTES)]]);
    return block;
  }

  /** Ends runs and the invocation. */
  async end(id: string, verdict = 'ok'): Promise<void> {
    await this.sql(
      `update triggerfs.runs set verdict = $2, exit_code = 0, signal = 0, ended_at = now(), duration_us = 5 where invocation_id = $1 and verdict is null`,
      [id, verdict],
    );
    await this.sql(`update triggerfs.invocations set verdict = $2, exit_code = 0, ended_at = now() where id = $1`, [id, verdict]);
  }
}

function dayOf(id: string, now: Date): string {
  return historyDay(Buffer.from(id.replaceAll('-', ''), 'hex'), now.getTime());
}
