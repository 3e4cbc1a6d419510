import { checkHouse } from './layers/check.ts';
import { sourceFiles } from './layers/sources.ts';

const problems = checkHouse(sourceFiles());
for (const problem of problems) process.stderr.write(`${problem}\n`);
process.exitCode = problems.length === 0 ? 0 : 1;
