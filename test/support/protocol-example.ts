import { algorithmNumber } from '../../protocol/algorithms.ts';
import { BatchWriter } from '../../protocol/batch.ts';
import { Layout, RecordFlag, RecordType } from '../../protocol/records.ts';
import { Verdict } from '../../protocol/verdicts.ts';

const INVOCATION = Buffer.from('01932a6f000070008000000000000001', 'hex');

/** The exchange that protocol/README.md shows byte by byte: `echo hi` on a service with one worker. */
export function exampleBatches(): Record<'clientToBroker' | 'brokerToWorker' | 'workerToBroker' | 'brokerToClient', Buffer> {
  return { clientToBroker: request(), brokerToWorker: task(), workerToBroker: answer(), brokerToClient: forwarded() };
}

function request(): Buffer {
  const writer = new BatchWriter();
  writer.json(RecordType.route, { route: 1, service: 'demo', plugin: 'command/command' });
  invocation(writer, RecordType.request, { number: 7, reference: 1, credit: 65_536 });
  return writer.take();
}

function task(): Buffer {
  const writer = new BatchWriter();
  writer.json(RecordType.plan, { plan: 1, plugin: 'command/command', args: {}, service: 'demo', callerTeam: 'demo', caller: 'demo' });
  invocation(writer, RecordType.task, { number: 1, reference: 1, credit: 65_536 });
  return writer.take();
}

function answer(): Buffer {
  const writer = new BatchWriter();
  const at = writer.reserve(RecordType.started, 0, Layout.started.end);
  writer.buffer.writeUInt32LE(1, at);
  output(writer, 1, 0);
  result(writer, 1, 0, 0);
  return writer.take();
}

function forwarded(): Buffer {
  const writer = new BatchWriter();
  const name = Buffer.from('demo01');
  let at = writer.reserve(RecordType.worker, 0, Layout.worker.name + name.length);
  writer.buffer.writeUInt32LE(3, at);
  name.copy(writer.buffer, at + Layout.worker.name);
  at = writer.reserve(RecordType.manifest, 0, Layout.manifest.workers + 4);
  writer.buffer.fill(0, at, at + Layout.manifest.workers + 4);
  writer.buffer.writeUInt32LE(7, at);
  writer.buffer[at + Layout.manifest.algorithm] = algorithmNumber('roundrobin');
  writer.buffer.writeUInt16LE(1, at + Layout.manifest.expected);
  writer.buffer.writeUInt32LE(10_000, at + Layout.manifest.limitMs);
  writer.buffer.writeUInt32LE(3, at + Layout.manifest.workers);
  output(writer, 7, 3);
  result(writer, 7, 3, RecordFlag.last);
  return writer.take();
}

function invocation(writer: BatchWriter, type: number, fields: { number: number; reference: number; credit: number }): void {
  const payload = Buffer.from('echo hi');
  const layout = Layout.request;
  const at = writer.reserve(type, 0, layout.payload + payload.length);
  const { buffer } = writer;
  buffer.writeUInt32LE(fields.number, at + layout.call);
  buffer.writeUInt32LE(fields.reference, at + layout.route);
  INVOCATION.copy(buffer, at + layout.invocation);
  buffer.writeUInt32LE(10_000, at + layout.timeoutMs);
  buffer.writeUInt32LE(fields.credit, at + layout.credit);
  buffer.writeUInt32LE(0, at + layout.resumeWorker);
  payload.copy(buffer, at + layout.payload);
}

function output(writer: BatchWriter, number: number, worker: number): void {
  const data = Buffer.from('hi\n');
  const layout = Layout.output;
  const at = writer.reserve(RecordType.output, 0, layout.data + data.length);
  writer.buffer.writeUInt32LE(number, at + layout.call);
  writer.buffer.writeUInt32LE(worker, at + layout.worker);
  writer.buffer.writeUInt32LE(0, at + layout.sequence);
  data.copy(writer.buffer, at + layout.data);
}

function result(writer: BatchWriter, number: number, worker: number, flags: number): void {
  const layout = Layout.result;
  const at = writer.reserve(RecordType.result, flags, layout.detail);
  writer.buffer.fill(0, at, at + layout.detail);
  writer.buffer.writeUInt32LE(number, at + layout.call);
  writer.buffer.writeUInt32LE(worker, at + layout.worker);
  writer.buffer.writeUInt32LE(2_500, at + layout.durationUs);
  writer.buffer.writeInt16LE(0, at + layout.exitCode);
  writer.buffer[at + layout.verdict] = Verdict.ok;
}
