export { configPath, loadConfig, parseConfig } from './load.ts';
export { type Config, SECTIONS, type Section, type WorkerCredentials } from './sections.ts';
export { workerSection } from './worker-section.ts';
