export type { Arguments, ArgumentValue } from './arguments.ts';
export type { Handler, Message, Outcome, Reply } from './message.ts';
export { onKill, type ServeOptions, serve } from './serve.ts';
