import { RecordType } from '../../protocol/records.ts';

/** What a session is to the broker. `new` has not said HELLO; API tokens and users are clients. */
export type SessionRole = 'new' | 'client' | 'worker';

/**
 * The only records a peer may send, by what it is. Anything absent is denied and counted;
 * a new record type is therefore unreachable until somebody decides who may send it.
 */
const ALLOWED: Readonly<Record<SessionRole, ReadonlySet<number>>> = Object.freeze({
  new: new Set([RecordType.hello, RecordType.ping]),
  client: new Set<number>([
    RecordType.ping,
    RecordType.pong,
    RecordType.renew,
    RecordType.bye,
    RecordType.route,
    RecordType.unroute,
    RecordType.request,
    RecordType.credit,
    RecordType.cancel,
  ]),
  worker: new Set<number>([
    RecordType.ping,
    RecordType.pong,
    RecordType.renew,
    RecordType.bye,
    RecordType.announce,
    RecordType.started,
    RecordType.output,
    RecordType.result,
    RecordType.keep,
    RecordType.fires,
  ]),
});

/** Whether a session of this role may send this record type. */
export function mayRecord(role: SessionRole, type: number): boolean {
  return ALLOWED[role].has(type);
}
