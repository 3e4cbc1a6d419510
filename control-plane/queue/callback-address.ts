import { lookup } from 'node:dns/promises';
import { BlockList, isIP } from 'node:net';
import { TriggerFsError } from '../../protocol/errors.ts';

/** Where a callback is sent: the one address that was looked at, so that a second answer of the name server changes nothing. */
export interface CallbackAddress {
  readonly url: URL;
  readonly address: string;
  readonly family: 4 | 6;
}

/** Looks a name up; all of its addresses. */
export type Resolve = (host: string) => Promise<readonly { readonly address: string; readonly family: number }[]>;

/** Private, shared, loopback, link-local (where clouds keep their metadata), documentation, benchmarks, multicast, reserved. */
const IPV4 = [
  ...['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12', '192.0.0.0/24', '192.0.2.0/24'],
  ...['192.88.99.0/24', '192.168.0.0/16', '198.18.0.0/15', '198.51.100.0/24', '203.0.113.0/24', '224.0.0.0/4', '240.0.0.0/4'],
];
/** Within the global unicast addresses: Teredo and other protocols, documentation, 6to4. Everything outside of 2000::/3 is refused. */
const IPV6 = ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20'];

/**
 * Checks a callback's address before anything is sent there. `allowed`: hosts that may be anywhere, as `host` or `host:port`.
 * @throws TriggerFsError TFS_FORBIDDEN (not a place for callbacks), TFS_UNAVAILABLE (the name is not known at the moment)
 */
export async function checkCallback(text: string, allowed: readonly string[], resolve: Resolve = resolveAll): Promise<CallbackAddress> {
  const url = parse(text);
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const found = await resolve(host).catch((cause: unknown) => {
    throw new TriggerFsError('TFS_UNAVAILABLE', `the host ${host} cannot be found`, { cause });
  });
  const [first] = found;
  if (first === undefined) throw new TriggerFsError('TFS_UNAVAILABLE', `the host ${host} has no address`);
  const trusted = allowed.some((entry) => [host, url.host].includes(entry.toLowerCase()));
  // One bad address is enough: which of them is used must not be a matter of luck.
  const refused = trusted ? undefined : found.find(({ address }) => !isPublicAddress(address));
  if (refused !== undefined) {
    throw new TriggerFsError(
      'TFS_FORBIDDEN',
      `callbacks to ${host} are refused: ${refused.address} is no public address, and [control-plane] callbacks does not name the host`,
    );
  }
  return { url, address: first.address, family: first.family === 6 ? 6 : 4 };
}

/** Whether an address belongs to the public internet. */
export function isPublicAddress(address: string): boolean {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address;
  if (isIP(mapped) === 4) return !list(IPV4, 'ipv4').check(mapped, 'ipv4');
  if (isIP(mapped) !== 6) return false;
  return list(['2000::/3'], 'ipv6').check(mapped, 'ipv6') && !list(IPV6, 'ipv6').check(mapped, 'ipv6');
}

function parse(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !['http:', 'https:'].includes(url.protocol) || url.hostname === '') {
    throw new TriggerFsError('TFS_FORBIDDEN', 'a callback is an http or https address');
  }
  if (url.username !== '' || url.password !== '') throw new TriggerFsError('TFS_FORBIDDEN', 'a callback carries no login');
  return url;
}

function list(ranges: readonly string[], family: 'ipv4' | 'ipv6'): BlockList {
  const blocks = new BlockList();
  for (const range of ranges) {
    const [network = '', bits] = range.split('/');
    blocks.addSubnet(network, Number(bits), family);
  }
  return blocks;
}

async function resolveAll(host: string): Promise<readonly { address: string; family: number }[]> {
  return lookup(host, { all: true });
}
