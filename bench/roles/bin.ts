import { main } from './main.ts';

main(process.argv[2] ?? '');
