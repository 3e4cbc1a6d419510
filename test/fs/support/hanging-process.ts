import { Watchdog } from '../../../fs/watchdog.ts';

// A process whose event loop works for a while and then hangs for ever.
Watchdog.start(2);
setTimeout(() => {
  process.send?.('hanging');
  // The message leaves before the loop is blocked.
  setTimeout(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0), 50);
}, 2_500);
