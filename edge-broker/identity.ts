import { randomUUID } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { curveKeyPair } from 'zeromq';
import { TriggerFsError } from '../protocol/errors.ts';
import type { CurveKeys } from './session/transport.ts';

/** Who a broker is: it keeps id and keys over restarts, so that peers recognise it. */
export interface BrokerIdentity extends CurveKeys {
  readonly id: string;
}

/**
 * Reads the key file, or makes one (mode 0600) when it is missing.
 * @throws TriggerFsError TFS_CONFIG when it is unreadable, damaged, or readable by others
 */
export function loadIdentity(file: string): BrokerIdentity {
  if (!existsSync(file)) return createIdentity(file);
  if ((statSync(file).mode & 0o077) !== 0)
    throw new TriggerFsError('TFS_CONFIG', `${file} holds a secret key and is readable by others: chmod 600 it`);
  try {
    const identity = JSON.parse(readFileSync(file, 'utf8')) as BrokerIdentity;
    if (identity.publicKey.length !== 40 || identity.secretKey.length !== 40 || identity.id.length !== 36)
      throw new Error('not a broker key');
    return identity;
  } catch (cause) {
    throw new TriggerFsError('TFS_CONFIG', `cannot read the broker key ${file}: ${(cause as Error).message}`, { cause });
  }
}

function createIdentity(file: string): BrokerIdentity {
  const { publicKey, secretKey } = curveKeyPair();
  const identity: BrokerIdentity = { id: randomUUID(), publicKey, secretKey };
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(identity)}\n`, { mode: 0o600, flag: 'wx' });
  chmodSync(file, 0o600);
  return identity;
}
