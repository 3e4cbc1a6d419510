export type { Manifest, Outcome, RunVerdict } from '../protocol/outcome.ts';
export type { CallHandlers } from './answers.ts';
export type { Call } from './call.ts';
export { Client, type ClientOptions } from './client.ts';
export { Invocation, type InvocationEvent, type InvokeRequest, type OutputChunk } from './invocation.ts';
export { ClientRoute, type RouteRule, type SendOptions } from './route.ts';
