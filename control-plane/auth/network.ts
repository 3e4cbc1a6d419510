const MAPPED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;
const GROUPS = 8;
const PREFIX_GROUPS = 4;

/** Whom an address stands for when attempts are counted: itself, or its /64 for IPv6, of which one machine has all addresses. */
export function networkOf(address: string): string {
  if (!address.includes(':')) return address;
  const [, mapped] = MAPPED.exec(address) ?? [];
  if (mapped !== undefined) return mapped;
  const [head = [], tail] = address.split('::').map((part) => (part === '' ? [] : part.split(':')));
  const rest = tail ?? [];
  const zeros = Array.from({ length: Math.max(0, GROUPS - head.length - rest.length) }, () => '0');
  const groups = [...head, ...zeros, ...rest].slice(0, PREFIX_GROUPS);
  return `${groups.map((group) => Number.parseInt(group, 16).toString(16)).join(':')}::/64`;
}
