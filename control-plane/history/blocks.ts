import { type BlockFrame, outputAad, readBlock } from '../../protocol/history-block.ts';
import { type KeyRing, open } from '../../runtime/sealing/index.ts';
import type { Place } from './repository.ts';

/** A row of `triggerfs.outputs`. */
export interface BlockRow {
  readonly workerId: number;
  /** Identity of the worker. */
  readonly worker: string;
  readonly attempt: number;
  readonly block: number;
  readonly at: Date;
  readonly gap: boolean;
  readonly data: Buffer;
}

/** Neighbouring frames of one stream. */
export interface Piece {
  readonly stream: 'stdout' | 'stderr';
  /** Of its first frame. */
  readonly sequence: number;
  readonly at: Date;
  readonly data: Buffer;
}

/**
 * The output in a block. How it is divided depends on the block alone, so positions within it mean the same everywhere.
 * @throws TriggerFsError TFS_SEALED; RangeError when it is damaged inside
 */
export async function openBlock(keys: KeyRing, { teamId, id }: Pick<Place, 'teamId' | 'id'>, row: BlockRow): Promise<Piece[]> {
  const plain = await open(keys, teamId, outputAad(teamId, id, row.workerId, row.attempt, row.block), row.data);
  const pieces: Piece[] = [];
  let group: BlockFrame[] = [];
  for (const frame of readBlock(plain)) {
    if (group.length > 0 && group[0]?.stream !== frame.stream) pieces.push(join(group, row.at));
    if (group[0]?.stream !== frame.stream) group = [];
    group.push(frame);
  }
  if (group.length > 0) pieces.push(join(group, row.at));
  return pieces;
}

function join(group: readonly BlockFrame[], at: Date): Piece {
  const { stream, sequence, offsetMs } = group[0] as BlockFrame;
  const data = group.length === 1 ? (group[0] as BlockFrame).data : Buffer.concat(group.map((frame) => frame.data));
  return { stream, sequence, at: new Date(at.getTime() + offsetMs), data };
}
