export { type KeyStore, MasterKey } from './master-key.ts';
export { type DataKey, type KeyRing, open, seal } from './seal.ts';
export { TeamKeys } from './team-keys.ts';
