import { keepStandardOutput } from './standard-output.ts';

// Loaded by the worker before a resident plugin, so that even what it prints while it starts goes to the log.
keepStandardOutput();
