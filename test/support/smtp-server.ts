import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';

/** What the server does with mails: takes them, turns them away for now, or says nothing any more once they are there. */
export type SmtpMood = 'take' | 'refuse' | 'hang';

/** As much of SMTP as a mail needs. */
export class SmtpServer {
  /** Mails that were taken, as they came. */
  readonly mails: string[] = [];
  /** Every line outside of mails. */
  readonly commands: string[] = [];
  mood: SmtpMood = 'take';
  readonly #server = createServer((socket) => this.#serve(socket));
  readonly #sockets = new Set<Socket>();

  private constructor() {
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  /** Starts one that ends with the test; port 0 takes a free one. */
  static async start(t: Pick<TestContext, 'after'>, port = 0): Promise<SmtpServer> {
    const server = new SmtpServer();
    await new Promise<void>((resolve) => server.#server.listen(port, '127.0.0.1', resolve));
    t.after(() => server.stop());
    return server;
  }

  /** Where it listens. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Closes the port and cuts all connections. */
  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(socket: Socket): void {
    let input = '';
    let mail: string[] | null = null;
    socket.on('error', () => undefined);
    socket.write('220 test ready\r\n');
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (input + chunk).split('\r\n');
      input = lines.pop() ?? '';
      for (const line of lines) {
        if (mail === null) {
          socket.write(`${this.#answer(line)}\r\n`);
          if (line === 'DATA') mail = [];
        } else if (line === '.') {
          if (this.mood === 'hang') return;
          this.mails.push(mail.join('\n'));
          mail = null;
          socket.write('250 taken\r\n');
        } else mail.push(line);
      }
    });
  }

  #answer(command: string): string {
    this.commands.push(command);
    if (command.startsWith('EHLO')) return '250-test\r\n250 AUTH PLAIN';
    if (command.startsWith('AUTH')) return '235 welcome';
    if (command === 'DATA') return '354 go on';
    if (command.startsWith('MAIL') && this.mood === 'refuse') return '451 later';
    return '250 ok';
  }
}
