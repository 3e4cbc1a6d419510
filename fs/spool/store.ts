import { LocalDatabase } from '../../runtime/sqlite/local-database.ts';
import type { Message, Part, StoredResponse } from './message.ts';

const SCHEMA = `
create table if not exists state (key text primary key, value) without rowid;
create table if not exists messages (
  sequence integer primary key, trigger_id integer not null, invocation blob not null, accepted_at integer not null, payload blob not null
);
create index if not exists messages_by_trigger on messages (trigger_id, sequence);
create table if not exists parts (handle integer primary key, trigger_id integer not null, closed integer not null, data blob not null);
create table if not exists dead_letters (
  id integer primary key autoincrement, trigger_id integer not null, path text not null, invocation blob not null,
  accepted_at integer not null, dead_at integer not null, reason text not null, payload blob not null
);
create table if not exists responses (
  trigger_id integer primary key, invocation blob not null, verdict text not null, exit_code integer not null,
  answered_at integer not null, output blob not null
);
pragma user_version = 1;
`;

/** A message that is given up, with the reason a person reads. */
export interface DeadLetter {
  readonly message: Message;
  readonly path: string;
  readonly reason: string;
}

interface MessageRow {
  readonly sequence: number;
  readonly trigger_id: number;
  readonly invocation: Uint8Array;
  readonly accepted_at: number;
  readonly payload: Uint8Array;
}

interface ResponseRow {
  readonly trigger_id: number;
  readonly invocation: Uint8Array;
  readonly verdict: string;
  readonly exit_code: number;
  readonly answered_at: number;
  readonly output: Uint8Array;
}

/** The tables of the spool, one method a statement. Times are milliseconds since 1970. */
export class SpoolStore {
  readonly #database: LocalDatabase;

  constructor(path: string) {
    this.#database = new LocalDatabase(path);
    this.#database.run('pragma auto_vacuum = incremental; pragma journal_mode = wal; pragma synchronous = normal;');
    this.#database.run('pragma busy_timeout = 2000; pragma journal_size_limit = 16777216; pragma cache_size = -8192;');
    this.#database.run(SCHEMA);
  }

  /** Runs `work` in one transaction; `durable` waits until it is on the disk. Nothing of it stays when it throws. */
  transaction(durable: boolean, work: () => void): void {
    this.#database.transaction(durable, work);
  }

  insertMessage(message: Message): void {
    const { sequence, trigger, invocation, acceptedAt, payload } = message;
    this.#database
      .prepare('insert or replace into messages values (?, ?, ?, ?, ?)')
      .run(sequence, trigger, invocation, acceptedAt, payload);
  }

  deleteMessage(sequence: number): void {
    this.#database.prepare('delete from messages where sequence = ?').run(sequence);
  }

  /** Messages of a trigger in order, until `limit` rows or `maxBytes` of payload (but at least one). */
  readMessages(trigger: number, after: number, limit: number, maxBytes: number): Message[] {
    const messages: Message[] = [];
    let bytes = 0;
    const rows = this.#database.prepare('select * from messages where trigger_id = ? and sequence > ? order by sequence limit ?');
    for (const row of rows.iterate(trigger, after, limit)) {
      const message = toMessage(row as unknown as MessageRow);
      messages.push(message);
      bytes += message.payload.length;
      if (bytes >= maxBytes) break;
    }
    return messages;
  }

  /** Triggers with messages, how many and how large they are. */
  pending(): { trigger: number; messages: number; bytes: number }[] {
    const sql = 'select trigger_id as trigger, count(*) as messages, sum(length(payload)) as bytes from messages group by trigger_id';
    return this.#database.prepare(sql).all() as unknown as { trigger: number; messages: number; bytes: number }[];
  }

  /** The largest sequence in use; 0 without messages. */
  lastSequence(): number {
    return Number(this.#database.prepare('select coalesce(max(sequence), 0) as last from messages').get()?.last ?? 0);
  }

  /** Replaces the parts of all open files. */
  replaceParts(parts: ReadonlyMap<number, Part>): void {
    this.#database.prepare('delete from parts').run();
    const insert = this.#database.prepare('insert into parts values (?, ?, ?, ?)');
    for (const [handle, part] of parts) insert.run(handle, part.trigger, part.closed ? 1 : 0, Buffer.concat(part.chunks));
  }

  /** Parts of files that were open when the parts were last replaced. */
  readParts(): Map<number, Part> {
    const parts = new Map<number, Part>();
    for (const row of this.#database.prepare('select * from parts order by handle').all()) {
      const data = Buffer.from(row.data as Uint8Array);
      const part = { trigger: Number(row.trigger_id), chunks: [data], bytes: data.length, closed: row.closed === 1 };
      parts.set(Number(row.handle), part);
    }
    return parts;
  }

  insertDeadLetter({ message, path, reason }: DeadLetter, deadAt: number): void {
    const { trigger, invocation, acceptedAt, payload } = message;
    const sql =
      'insert into dead_letters (trigger_id, path, invocation, accepted_at, dead_at, reason, payload) values (?, ?, ?, ?, ?, ?, ?)';
    this.#database.prepare(sql).run(trigger, path, invocation, acceptedAt, deadAt, reason, payload);
  }

  /** Removes the oldest dead letters until at most `maxBytes` of payload are left. */
  trimDeadLetters(maxBytes: number): number {
    const sql = `delete from dead_letters where id in (
      select id from (select id, sum(length(payload) + 128) over (order by id desc) as bytes from dead_letters) where bytes > ?)`;
    return Number(this.#database.prepare(sql).run(maxBytes).changes);
  }

  saveResponse(trigger: number, response: StoredResponse): void {
    const { invocation, verdict, exitCode, answeredAt, output } = response;
    const sql = 'insert or replace into responses values (?, ?, ?, ?, ?, ?)';
    this.#database.prepare(sql).run(trigger, invocation, verdict, exitCode, answeredAt, output);
  }

  /** The last response of every trigger. */
  readResponses(): Map<number, StoredResponse> {
    const responses = new Map<number, StoredResponse>();
    for (const row of this.#database.prepare('select * from responses').all() as unknown as ResponseRow[]) {
      const { verdict, exit_code: exitCode, answered_at: answeredAt } = row;
      const invocation = Buffer.from(row.invocation);
      responses.set(row.trigger_id, { invocation, verdict, exitCode, answeredAt, output: Buffer.from(row.output) });
    }
    return responses;
  }

  /** A value kept between runs; null when there is none. */
  readState(key: string): string | null {
    const value = this.#database.prepare('select value from state where key = ?').get(key)?.value;
    return value === undefined || value === null ? null : String(value);
  }

  writeState(key: string, value: string): void {
    this.#database.prepare('insert or replace into state values (?, ?)').run(key, value);
  }

  /** Gives free pages back to the file system, a few at a time. */
  shrink(): void {
    this.#database.run('pragma incremental_vacuum(1024)');
  }

  close(): void {
    this.#database.close();
  }
}

function toMessage(row: MessageRow): Message {
  return {
    sequence: row.sequence,
    trigger: row.trigger_id,
    invocation: Buffer.from(row.invocation),
    acceptedAt: row.accepted_at,
    payload: Buffer.from(row.payload),
    resume: false,
    settled: true,
    done: false,
  };
}
