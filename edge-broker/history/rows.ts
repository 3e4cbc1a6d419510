import { outputAad, payloadAad } from '../../protocol/history-block.ts';
import { isJson } from '../../runtime/json.ts';
import { BinaryArray, ElementType } from '../../runtime/postgres/binary-array.ts';
import { seal } from '../../runtime/sealing/index.ts';
import { formatInvocationId } from '../../runtime/wire/invocation-id.ts';
import type { Block } from './block-buffer.ts';
import type { InvocationEntry, RunRecord } from './history-records.ts';
import type { TeamSecret } from './team-secrets.ts';

const { bool, bytea, date, int2, int4, int8, jsonb, text, timestamptz, uuid } = ElementType;

/** Rows of `triggerfs.invocations` as columns. */
export class InvocationRows {
  readonly #brokerId: Buffer;
  readonly #columns = {
    day: new BinaryArray(date),
    id: new BinaryArray(uuid),
    team: new BinaryArray(int4),
    broker: new BinaryArray(uuid),
    service: new BinaryArray(text),
    plugin: new BinaryArray(text),
    algorithm: new BinaryArray(text),
    source: new BinaryArray(text),
    caller: new BinaryArray(text),
    trigger: new BinaryArray(int4),
    schedule: new BinaryArray(int4),
    item: new BinaryArray(uuid),
    args: new BinaryArray(jsonb),
    payload: new BinaryArray(bytea),
    payloadBytes: new BinaryArray(int4),
    timeout: new BinaryArray(int4),
    deadline: new BinaryArray(timestamptz),
    expected: new BinaryArray(int4),
    accepted: new BinaryArray(timestamptz),
    taken: new BinaryArray(timestamptz),
    ended: new BinaryArray(timestamptz),
    verdict: new BinaryArray(text),
    exitCode: new BinaryArray(int4),
    error: new BinaryArray(text),
    detail: new BinaryArray(text),
    output: new BinaryArray(int8),
  };

  static readonly insert = `insert into triggerfs.invocations as i (day, id, team_id, broker_id, service, plugin, algorithm, source, caller,
      trigger_id, schedule_id, item_id, args, payload, payload_bytes, timeout_ms, deadline_at, expected, accepted_at, taken_at, ended_at,
      verdict, exit_code, error, detail, output_bytes)
    select * from unnest($1::date[], $2::uuid[], $3::integer[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
      $10::integer[], $11::integer[], $12::uuid[], $13::jsonb[], $14::bytea[], $15::integer[], $16::integer[], $17::timestamptz[],
      $18::integer[], $19::timestamptz[], $20::timestamptz[], $21::timestamptz[], $22::text[], $23::integer[], $24::text[], $25::text[],
      $26::bigint[])`;

  static readonly upsert = `${InvocationRows.insert}
    on conflict (id, day, team_id) do update set
      accepted_at = least(i.accepted_at, excluded.accepted_at), payload = coalesce(i.payload, excluded.payload),
      deadline_at = greatest(i.deadline_at, excluded.deadline_at), output_bytes = greatest(i.output_bytes, excluded.output_bytes),
      broker_id = case when excluded.taken_at >= i.taken_at then excluded.broker_id else i.broker_id end,
      taken_at = greatest(i.taken_at, excluded.taken_at),
      (verdict, exit_code, error, detail, ended_at) = (select n.verdict, n.exit_code, n.error, n.detail, n.ended_at
        from (values (true, excluded.verdict, excluded.exit_code, excluded.error, excluded.detail, excluded.ended_at),
          (false, i.verdict, i.exit_code, i.error, i.detail, i.ended_at)) as n (fresh, verdict, exit_code, error, detail, ended_at)
        where n.fresh = (excluded.verdict is not null and excluded.taken_at >= i.taken_at))`;

  constructor(brokerId: Buffer) {
    this.#brokerId = brokerId;
  }

  get count(): number {
    return this.#columns.id.count;
  }

  /** Adds the row of a record; `over`: with how it ended. */
  add({ record, over, payload }: InvocationEntry, { key, redactor }: TeamSecret): void {
    const columns = this.#columns;
    const { rule } = record;
    columns.day.date(record.day);
    columns.id.uuid(record.id);
    columns.team.int4(rule.teamId);
    columns.broker.uuid(this.#brokerId);
    columns.service.text(rule.service);
    columns.plugin.text(rule.plugin);
    columns.algorithm.text(rule.algorithm);
    columns.source.text(rule.source);
    columns.caller.text(rule.caller);
    orNull(columns.trigger, rule.trigger, 'int4');
    orNull(columns.schedule, rule.schedule, 'int4');
    if (rule.item === null) columns.item.null();
    else columns.item.uuid(rule.item === 'self' ? record.id : rule.item);
    columns.args.jsonb(rule.args === '{}' ? rule.args : maskedArgs(rule.args, redactor));
    if (payload === null) columns.payload.null();
    else {
      redactor.mask(payload);
      columns.payload.bytea(seal(key, payloadAad(rule.teamId, formatInvocationId(record.id)), payload));
    }
    columns.payloadBytes.int4(record.payloadBytes);
    columns.timeout.int4(record.timeoutMs);
    columns.deadline.timestamptz(record.deadline);
    columns.expected.int4(record.expected);
    columns.accepted.timestamptz(record.acceptedAt);
    columns.taken.timestamptz(record.acceptedAt);
    const outcome = over ? record.outcome : null;
    orNull(columns.ended, over ? record.endedAt : null, 'timestamptz');
    textOrNull(columns.verdict, outcome?.verdict);
    orNull(columns.exitCode, outcome?.exitCode ?? null, 'int4');
    textOrNull(columns.error, outcome?.error);
    textOrNull(columns.detail, outcome === null || outcome.detail === '' ? null : redactor.text(outcome.detail));
    columns.output.int8(record.outputBytes);
  }

  /** The parameters of `insert` and of `upsert`. */
  finish(): readonly Buffer[] {
    return Object.values(this.#columns).map((column) => column.finish());
  }
}

/** Rows of `triggerfs.runs` as columns. */
export class RunRows {
  readonly #columns = {
    day: new BinaryArray(date),
    invocation: new BinaryArray(uuid),
    team: new BinaryArray(int4),
    worker: new BinaryArray(int4),
    identity: new BinaryArray(text),
    attempt: new BinaryArray(int2),
    accepted: new BinaryArray(timestamptz),
    verdict: new BinaryArray(text),
    exitCode: new BinaryArray(int4),
    signal: new BinaryArray(int2),
    error: new BinaryArray(text),
    detail: new BinaryArray(text),
    started: new BinaryArray(timestamptz),
    ended: new BinaryArray(timestamptz),
    duration: new BinaryArray(int8),
    output: new BinaryArray(int8),
  };

  static readonly insert =
    `insert into triggerfs.runs as r (day, invocation_id, team_id, worker_id, identity, attempt, accepted_at, verdict,
      exit_code, signal, error, detail, started_at, ended_at, duration_us, output_bytes)
    select * from unnest($1::date[], $2::uuid[], $3::integer[], $4::integer[], $5::text[], $6::smallint[], $7::timestamptz[], $8::text[],
      $9::integer[], $10::smallint[], $11::text[], $12::text[], $13::timestamptz[], $14::timestamptz[], $15::bigint[], $16::bigint[])`;

  static readonly upsert = `${RunRows.insert}
    on conflict (invocation_id, worker_id, attempt, day, team_id) do update set
      accepted_at = least(r.accepted_at, excluded.accepted_at), started_at = least(r.started_at, excluded.started_at),
      output_bytes = greatest(r.output_bytes, excluded.output_bytes),
      (verdict, exit_code, signal, error, detail, ended_at, duration_us) = (
        select n.verdict, n.exit_code, n.signal, n.error, n.detail, n.ended_at, n.duration_us
        from (values (true, excluded.verdict, excluded.exit_code, excluded.signal, excluded.error, excluded.detail, excluded.ended_at, excluded.duration_us),
          (false, r.verdict, r.exit_code, r.signal, r.error, r.detail, r.ended_at, r.duration_us))
          as n (fresh, verdict, exit_code, signal, error, detail, ended_at, duration_us)
        where n.fresh = (excluded.verdict is not null and (r.verdict is null or excluded.ended_at >= r.ended_at)))`;

  get count(): number {
    return this.#columns.invocation.count;
  }

  /** Adds the row of a record; `over`: with how it ended. */
  add(record: RunRecord, over: boolean, { redactor }: TeamSecret): void {
    const columns = this.#columns;
    const { invocation } = record;
    const verdict = over ? record.verdict : null;
    columns.day.date(invocation.day);
    columns.invocation.uuid(invocation.id);
    columns.team.int4(invocation.rule.teamId);
    columns.worker.int4(record.workerId);
    columns.identity.text(record.identity);
    columns.attempt.int2(record.attempt);
    columns.accepted.timestamptz(invocation.acceptedAt);
    textOrNull(columns.verdict, verdict?.verdict);
    orNull(columns.exitCode, verdict?.exitCode ?? null, 'int4');
    orNull(columns.signal, verdict?.signal ?? null, 'int2');
    textOrNull(columns.error, verdict?.error);
    textOrNull(columns.detail, verdict === null || verdict.detail === '' ? null : redactor.text(verdict.detail));
    columns.started.timestamptz(record.startedAt);
    orNull(columns.ended, over ? record.endedAt : null, 'timestamptz');
    orNull(columns.duration, verdict?.durationUs ?? null, 'int8');
    columns.output.int8(record.outputBytes);
  }

  /** The parameters of `insert` and of `upsert`. */
  finish(): readonly Buffer[] {
    return Object.values(this.#columns).map((column) => column.finish());
  }
}

/** Rows of `triggerfs.outputs` as columns. */
export class OutputRows {
  readonly #columns = {
    day: new BinaryArray(date),
    invocation: new BinaryArray(uuid),
    team: new BinaryArray(int4),
    worker: new BinaryArray(int4),
    attempt: new BinaryArray(int2),
    block: new BinaryArray(int4),
    sequence: new BinaryArray(int8),
    bytes: new BinaryArray(int4),
    at: new BinaryArray(timestamptz),
    data: new BinaryArray(bytea, 256 * 1024),
    gap: new BinaryArray(bool),
  };

  static readonly insert =
    `insert into triggerfs.outputs (day, invocation_id, team_id, worker_id, attempt, block, first_sequence, bytes, at, data, gap)
    select * from unnest($1::date[], $2::uuid[], $3::integer[], $4::integer[], $5::smallint[], $6::integer[], $7::bigint[], $8::integer[],
      $9::timestamptz[], $10::bytea[], $11::boolean[])`;

  static readonly upsert = `${OutputRows.insert}
    on conflict do nothing`;

  get count(): number {
    return this.#columns.invocation.count;
  }

  /** Blackens, seals and adds one block. */
  add(record: RunRecord, number: number, block: Block, { key, redactor }: TeamSecret): void {
    const columns = this.#columns;
    const { day, id, rule } = record.invocation;
    redactor.block(block.data);
    columns.day.date(day);
    columns.invocation.uuid(id);
    columns.team.int4(rule.teamId);
    columns.worker.int4(record.workerId);
    columns.attempt.int2(record.attempt);
    columns.block.int4(number);
    columns.sequence.int8(block.firstSequence);
    columns.bytes.int4(block.bytes);
    columns.at.timestamptz(block.at);
    columns.data.bytea(seal(key, outputAad(rule.teamId, formatInvocationId(id), record.workerId, record.attempt, number), block.data));
    columns.gap.bool(block.gap);
  }

  /** The parameters of `insert` and of `upsert`. */
  finish(): readonly Buffer[] {
    return Object.values(this.#columns).map((column) => column.finish());
  }
}

/** A word may reach from a text into the JSON around it; what is no JSON any more would fail the whole statement, with rows of other teams. */
function maskedArgs(args: string, redactor: TeamSecret['redactor']): string {
  const masked = redactor.text(args);
  if (masked === args || isJson(masked)) return masked;
  return JSON.stringify(JSON.parse(args), (_name, value: unknown) => (typeof value === 'string' ? redactor.text(value) : value));
}

function orNull(column: BinaryArray, value: number | null, type: 'int2' | 'int4' | 'int8' | 'timestamptz'): void {
  if (value === null) column.null();
  else column[type](value);
}

function textOrNull(column: BinaryArray, value: string | null | undefined): void {
  if (value === null || value === undefined) column.null();
  else column.text(value);
}
