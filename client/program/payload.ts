import type { ReadStream } from 'node:tty';
import { TriggerFsError } from '../../protocol/errors.ts';
import { LIMITS } from '../../protocol/limits.ts';

/**
 * The message: `-command`, or all of standard input, byte for byte.
 * @throws TriggerFsError TFS_TOO_LARGE, TFS_USAGE when nothing is given and standard input is a terminal
 */
export async function readPayload(command: string | undefined, input: NodeJS.ReadableStream & Pick<ReadStream, 'isTTY'>): Promise<Buffer> {
  if (command !== undefined) return checked(Buffer.from(command));
  if (input.isTTY) throw new TriggerFsError('TFS_USAGE', 'no message: give -command, or pipe it in');
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of input) {
      chunks.push(chunk as Buffer);
      bytes += chunk.length;
      if (bytes > LIMITS.payloadBytes) break;
    }
  } catch (cause) {
    throw new TriggerFsError('TFS_USAGE', `cannot read standard input: ${(cause as Error).message}`, { cause });
  }
  return checked(Buffer.concat(chunks));
}

function checked(payload: Buffer): Buffer {
  if (payload.length <= LIMITS.payloadBytes) return payload;
  throw new TriggerFsError('TFS_TOO_LARGE', `the message is larger than ${LIMITS.payloadBytes} bytes`);
}
