import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { VERDICT_NAMES } from '../protocol/verdicts.ts';
import type { Dispatcher } from './dispatch/dispatcher.ts';
import type { GatewayCounters } from './gateway/gateway-counters.ts';
import type { HistoryWriter } from './history/history-writer.ts';
import type { FireWriter } from './schedules/fire-writer.ts';
import type { ResidentDesk } from './schedules/resident-desk.ts';
import type { Admission } from './session/admission.ts';
import type { Sessions } from './session/sessions.ts';
import type { Transport } from './session/transport.ts';

/** What is measured. */
export interface MetricsParts {
  readonly dispatcher: Dispatcher;
  readonly history: HistoryWriter;
  readonly residents: ResidentDesk;
  readonly fires: FireWriter;
  readonly sessions: Sessions;
  readonly transport: Transport;
  readonly admission: Admission;
  /** Sessions and open invocations of the HTTP gateway. */
  readonly gateway: () => { readonly sessions: number; readonly calls: number; readonly counters: GatewayCounters };
}

/** Measurements of one broker, in a registry of its own. They are read when somebody asks, so the hot paths only count. */
export class BrokerMetrics {
  readonly #registry = new Registry();

  constructor(parts: MetricsParts) {
    collectDefaultMetrics({ register: this.#registry });
    this.#dispatch(parts.dispatcher);
    this.#history(parts.history);
    this.#residents(parts);
    this.#sessions(parts);
    this.#gauge('triggerfs_blocked_bytes', 'Bytes that wait for peers which read slowly.', () => parts.transport.blockedBytes);
    this.#gateway(parts.gateway);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** All measurements in Prometheus' text format. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  #dispatch(dispatcher: Dispatcher): void {
    const { counters } = dispatcher;
    this.#counter('triggerfs_requests_total', 'Requests of callers.', () => counters.requests);
    this.#counter('triggerfs_output_bytes_total', 'Output bytes of plugins.', () => counters.outputBytes);
    this.#counter('triggerfs_hits_total', 'Requests that came from trigger files.', () => counters.hits);
    this.#gauge('triggerfs_open_runs', 'Runs without a verdict.', () => dispatcher.openRuns);
    this.#gauge('triggerfs_waiting_runs', 'Runs that wait for a worker.', () => dispatcher.waitingRuns);
    this.#gauge('triggerfs_workers', 'Workers that are connected.', () => dispatcher.workers.size);
    new Counter({
      name: 'triggerfs_verdicts_total',
      help: 'Ended runs by verdict.',
      labelNames: ['verdict'],
      registers: [this.#registry],
      collect(): void {
        this.reset();
        for (const [number, verdict] of VERDICT_NAMES.entries()) this.inc({ verdict }, counters.verdicts[number] ?? 0);
      },
    });
  }

  #history(history: HistoryWriter): void {
    const { budget } = history;
    const { counters } = budget;
    this.#labelled('triggerfs_history_rows_total', 'Rows of the history that were written, by table.', 'table', () => ({
      invocations: counters.invocations,
      runs: counters.runs,
      outputs: counters.outputs,
    }));
    this.#labelled('triggerfs_history_dropped_total', 'What is missing from the history: bytes of output, invocations.', 'what', () => ({
      output_bytes: counters.droppedBytes,
      invocations: counters.droppedInvocations,
    }));
    this.#gauge('triggerfs_history_lag_seconds', 'Age of the oldest thing that is not written yet.', () => history.lagMs / 1000);
    this.#gauge('triggerfs_history_buffered_bytes', 'Bytes of history that wait in memory.', () => budget.buffered);
  }

  #residents({ residents, fires: { counters } }: MetricsParts): void {
    this.#gauge('triggerfs_resident_workers', 'Connected workers that keep schedules.', () => residents.size);
    this.#labelled(
      'triggerfs_resident_fires_total',
      'Slots of resident schedules that workers reported, by what became of them.',
      'result',
      () => ({
        ...counters,
      }),
    );
  }

  #gateway(gateway: MetricsParts['gateway']): void {
    this.#gauge('triggerfs_gateway_sessions', 'Callers of the HTTP gateway with a session.', () => gateway().sessions);
    this.#gauge('triggerfs_gateway_open_invocations', 'Invocations over HTTP that are not done.', () => gateway().calls);
    this.#labelled('triggerfs_gateway_answers_total', 'Answers of the HTTP gateway by status.', 'status', () => gateway().counters.answers);
    this.#labelled(
      'triggerfs_gateway_rate_limited_total',
      'Requests without a token that came too soon, by the limit.',
      'limit',
      () => gateway().counters.limited,
    );
    this.#labelled('triggerfs_webhooks_taken_total', 'Webhooks by what became of them.', 'result', () => gateway().counters.taken);
    this.#labelled(
      'triggerfs_webhooks_refused_total',
      'Webhooks that were refused, by the reason.',
      'reason',
      () => gateway().counters.refused,
    );
  }

  #sessions({ sessions, admission }: MetricsParts): void {
    const { counters } = sessions;
    new Gauge({
      name: 'triggerfs_sessions',
      help: 'Sessions of peers over ZeroMQ; new ones have not said who they are.',
      labelNames: ['role'],
      registers: [this.#registry],
      collect(): void {
        for (const [role, count] of Object.entries(sessions.countByRole())) this.set({ role }, count);
      },
    });
    this.#counter('triggerfs_sessions_opened_total', 'Sessions that were opened.', () => counters.opened);
    this.#counter('triggerfs_sessions_refused_total', 'Sessions that were refused for their token.', () => counters.refused);
    this.#counter('triggerfs_sessions_lost_total', 'Sessions that ended.', () => counters.lost);
    this.#counter('triggerfs_denied_records_total', 'Records that their sender had no right to send.', () => counters.denied);
    this.#counter('triggerfs_malformed_batches_total', 'Batches that do not follow the protocol.', () => counters.malformed);
    this.#counter('triggerfs_denied_connections_total', 'Connections without a channel key.', () => admission.denied);
  }

  #labelled(name: string, help: string, label: string, read: () => Readonly<Record<string, number>>): void {
    new Counter({
      name,
      help,
      labelNames: [label],
      registers: [this.#registry],
      collect(): void {
        this.reset();
        for (const [value, count] of Object.entries(read())) this.inc({ [label]: value }, count);
      },
    });
  }

  #gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name,
      help,
      registers: [this.#registry],
      collect(): void {
        this.set(read());
      },
    });
  }

  #counter(name: string, help: string, read: () => number): void {
    new Counter({
      name,
      help,
      registers: [this.#registry],
      collect(): void {
        this.reset();
        this.inc(read());
      },
    });
  }
}
