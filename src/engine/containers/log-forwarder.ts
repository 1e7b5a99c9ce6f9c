/**
 * Sends what containers write on to syslog or journald. conmon keeps the local log, bounded as that of `local`; it is followed from where
 * the last run of ours stood, so that lines wait while a server is away or the engine is down, and no container waits for either. After a
 * crash of ours the lines of the last second may be sent twice.
 */
import { sleep, type Clock, type Timer } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import { readState, writeState } from '#base/files.ts'
import type { Logger } from '#base/log.ts'
import type { Poller } from '#linux/contract/poller.ts'
import type { LogEntry } from '../contract/containers.ts'
import { readLog } from './log-reader.ts'
import type { LogSource, LogSpec } from './log-options.ts'
import { openJournald } from './log-sinks/journald.ts'
import type { LogSink } from './log-sinks/sink.ts'
import { openSyslog } from './log-sinks/syslog.ts'

export interface LogForwarderOptions {
  readonly clock: Clock
  readonly log: Logger
  readonly sockets: Pick<Poller, 'sendDatagram'>
}

export interface ForwardedLog {
  readonly id: string
  readonly spec: LogSpec
  readonly source: LogSource
  readonly path: string
  /** Settles when the container has ended. */
  readonly ended: Promise<void>
}

interface Flow {
  readonly forwarded: ForwardedLog
  readonly stop: AbortController
  sink: LogSink | undefined
  cursor: Cursor
  saving: Timer | undefined
  done: Promise<void>
}

/** The time of the last entry that was sent, and how many of that time were. */
interface Cursor {
  readonly timeNs: bigint
  readonly count: number
}

const retryMs = 1000
const saveMs = 1000
/** How long the end of a container waits for its last lines to be sent. */
const drainMs = 5000
const formatVersion = 1

export function isForwarded({ driver }: LogSpec): boolean {
  return driver === 'syslog' || driver === 'journald'
}

export class LogForwarder {
  readonly #options: LogForwarderOptions
  readonly #flows = new Map<string, Flow>()

  constructor(options: LogForwarderOptions) {
    this.#options = options
  }

  /** Before the container starts. Fault: `internal` when nobody takes its lines. */
  async check(forwarded: Pick<ForwardedLog, 'spec' | 'source'>): Promise<void> {
    const sink = await this.#open(forwarded)
    sink[Symbol.dispose]()
  }

  start(forwarded: ForwardedLog): void {
    const flow: Flow = { forwarded, stop: new AbortController(), sink: undefined, cursor: { timeNs: 0n, count: 0 }, saving: undefined, done: Promise.resolve() }
    this.#flows.set(forwarded.id, flow)
    flow.done = this.#run(flow).catch((error: unknown) => {
      if (!isFault(error, 'canceled')) this.#options.log.error({ container: forwarded.id, error: String(error) }, 'the lines of a container are no longer sent to its logging driver')
    })
  }

  /** It has ended: the rest is sent, if that is possible within seconds. */
  async finish(id: string): Promise<void> {
    const flow = this.#flows.get(id)
    if (flow === undefined) return
    this.#flows.delete(id)
    const timer = this.#options.clock.after(drainMs, () => flow.stop.abort(), { background: true })
    await flow.done
    timer.cancel()
  }

  /** Containers run on; what they write meanwhile is sent by who comes next. */
  async close(): Promise<void> {
    const flows = [...this.#flows.values()]
    this.#flows.clear()
    for (const { stop } of flows) stop.abort()
    await Promise.all(flows.map(({ done }) => done))
  }

  #open({ spec, source }: Pick<ForwardedLog, 'spec' | 'source'>): Promise<LogSink> {
    const { sockets, clock } = this.#options
    const request = { spec, source, sockets, clock }
    return spec.driver === 'journald' ? openJournald(request) : openSyslog(request)
  }

  async #run(flow: Flow): Promise<void> {
    const { path, ended } = flow.forwarded
    flow.cursor = await readCursor(path)
    const from = flow.cursor
    let skip = from.count
    try {
      for await (const entry of readLog(path, { stdout: true, stderr: true, follow: true, sinceNs: from.timeNs, signal: flow.stop.signal }, ended)) {
        if (entry.timeNs === from.timeNs && skip > 0) {
          skip -= 1
          continue
        }
        await this.#deliver(flow, entry)
        flow.cursor = { timeNs: entry.timeNs, count: entry.timeNs === flow.cursor.timeNs ? flow.cursor.count + 1 : 1 }
        flow.saving ??= this.#options.clock.after(saveMs, () => void this.#save(flow), { background: true })
      }
    } finally {
      flow.sink?.[Symbol.dispose]()
      await this.#save(flow)
    }
  }

  /** Until it is with somebody, or the flow is stopped. */
  async #deliver(flow: Flow, entry: LogEntry): Promise<void> {
    const { clock, log } = this.#options
    for (let told = false; ; told = true) {
      try {
        flow.sink ??= await this.#open(flow.forwarded)
        return await flow.sink.send(entry)
      } catch (error) {
        flow.sink?.[Symbol.dispose]()
        flow.sink = undefined
        if (!told) log.warn({ container: flow.forwarded.id, error: String(error) }, 'a logging driver takes no lines: they wait in the local log')
      }
      await sleep(clock, retryMs, flow.stop.signal)
    }
  }

  async #save(flow: Flow): Promise<void> {
    flow.saving?.cancel()
    flow.saving = undefined
    try {
      await writeState(cursorPath(flow.forwarded.path), { formatVersion, timeNs: String(flow.cursor.timeNs), count: flow.cursor.count }, { durable: false })
    } catch (error) {
      this.#options.log.warn({ container: flow.forwarded.id, error: String(error) }, 'could not store how far a log was sent')
    }
  }
}

function cursorPath(logPath: string): string {
  return `${logPath}.sent`
}

async function readCursor(logPath: string): Promise<Cursor> {
  const state = await readState(cursorPath(logPath), formatVersion)
  const [timeNs, count] = [state?.['timeNs'], state?.['count']]
  return typeof timeNs === 'string' && typeof count === 'number' ? { timeNs: BigInt(timeNs), count } : { timeNs: 0n, count: 0 }
}
