import { Compile } from 'typebox/compile';
import { MalformedBatchError, readJson } from '../../protocol/batch.ts';
import { Layout } from '../../protocol/records.ts';
import { type FireReport, FiresHead } from '../../protocol/resident.ts';

const CHUNK_HEADER_BYTES = 5;

/** A piece of output of a fire. */
export interface FireChunk {
  readonly stderr: boolean;
  readonly data: Buffer;
}

/** A report with its output. */
export interface ReportedFire {
  readonly report: FireReport;
  readonly chunks: readonly FireChunk[];
}

/** A FIRES record. */
export interface FiresRecord {
  readonly upload: number;
  readonly fires: readonly ReportedFire[];
}

const head = Compile(FiresHead);

/** Reads the body of a FIRES record, which stands in `batch` from `start` to `end`, and copies what is needed. @throws MalformedBatchError */
export function readFires(batch: Buffer, start: number, end: number): FiresRecord {
  const headStart = start + Layout.fires.head;
  if (headStart > end) throw new MalformedBatchError('FIRES is cut');
  const headEnd = headStart + batch.readUInt32LE(start + Layout.fires.headBytes);
  if (headEnd > end) throw new MalformedBatchError('the head of FIRES leaves the record');
  const body = readJson(batch, headStart, headEnd);
  if (!head.Check(body)) throw new MalformedBatchError('FIRES has an unexpected head');
  const output = Buffer.from(batch.subarray(headEnd, end));
  let at = 0;
  const fires = body.fires.map((report) => {
    const bytes = report.run?.outputBytes ?? 0;
    if (at + bytes > output.length) throw new MalformedBatchError('the output of FIRES is cut');
    at += bytes;
    return { report, chunks: readChunks(output.subarray(at - bytes, at)) };
  });
  if (at !== output.length) throw new MalformedBatchError('FIRES has bytes that belong to no fire');
  return { upload: batch.readUInt32LE(start + Layout.fires.upload), fires };
}

function readChunks(output: Buffer): FireChunk[] {
  const chunks: FireChunk[] = [];
  for (let at = 0; at < output.length; ) {
    const data = at + CHUNK_HEADER_BYTES;
    const end = data <= output.length ? data + output.readUInt32LE(at + 1) : Number.POSITIVE_INFINITY;
    if (end > output.length) throw new MalformedBatchError('a chunk of output in FIRES is cut');
    chunks.push({ stderr: output[at] === 1, data: output.subarray(data, end) });
    at = end;
  }
  return chunks;
}
