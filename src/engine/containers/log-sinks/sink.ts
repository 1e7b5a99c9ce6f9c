/** Where a container's lines are sent beside its local log: what `log-forwarder.ts` needs of a driver. */
import type { Clock } from '#base/clock.ts'
import type { Poller } from '#linux/contract/poller.ts'
import type { LogEntry } from '../../contract/containers.ts'
import { logAttributesOf, logTagOf, type LogSource, type LogSpec } from '../log-options.ts'

export interface LogSink extends Disposable {
  /** Settles when the entry is with the kernel or the server's connection. A rejection: it may be sent again, over a new sink. */
  send(entry: LogEntry): Promise<void>
}

export interface SinkRequest {
  readonly spec: LogSpec
  readonly source: LogSource
  readonly sockets: Pick<Poller, 'sendDatagram'>
  readonly clock: Clock
}

/** Labels and variables that the options name, without the tag. */
export function attributesBesideTag({ spec, source }: Pick<SinkRequest, 'spec' | 'source'>): Readonly<Record<string, string>> {
  const { tag: _, ...options } = spec.options ?? {}
  return logAttributesOf({ ...spec, options }, source)
}

/** The short id unless `tag` says otherwise, as dockerd. */
export function tagOfSink({ spec, source }: Pick<SinkRequest, 'spec' | 'source'>): string {
  return logTagOf(spec.options?.['tag'] || '{{.ID}}', source)
}

/** A line without its line feed, and whether it is the whole of what is left of its line. */
export function lineOf({ data }: LogEntry): { readonly text: Buffer; readonly ends: boolean } {
  const ends = data.at(-1) === 0x0a
  return { text: ends ? data.subarray(0, -1) : data, ends }
}
