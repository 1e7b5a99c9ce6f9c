/**
 * What Kubernetes carries over SPDY: commands with one stream per channel (`v4.channel.k8s.io`), and forwarded ports with a
 * data and an error stream per connection (`portforward.k8s.io`). The header `streamType` says what a stream is for.
 */
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Clock } from '#base/clock.ts'
import { asFault, Fault } from '#base/fault.ts'
import type { Session } from '../../../contract/runtime.ts'
import { exitStatus, failureStatus, parseSize, resizeIfRunning } from '../channels.ts'
import type { SpdyStream } from './connection.ts'
import { SpdyConnection } from './connection.ts'

export interface CommandStreams {
  readonly stdin: boolean
  readonly stdout: boolean
  readonly stderr: boolean
  readonly tty: boolean
}

const openTimeoutMs = 30_000

/** Waits for the client's streams, runs the session, reports its end on the error stream. Never rejects. */
export async function serveSpdyCommand(transport: Duplex, wanted: CommandStreams, options: { readonly clock: Clock; readonly open: () => Promise<Session> }): Promise<void> {
  const names = new Set(['error', ...(wanted.stdin ? ['stdin'] : []), ...(wanted.stdout ? ['stdout'] : []), ...(wanted.stderr ? ['stderr'] : []), ...(wanted.tty ? ['resize'] : [])])
  const streams = new Map<string, SpdyStream>()
  const complete = Promise.withResolvers<void>()
  const connection = new SpdyConnection(transport, (stream) => {
    stream.on('error', () => {
      // A reset stream; what is still written to it is dropped.
    })
    streams.set(stream.headers.get('streamtype') ?? '', stream)
    if ([...names].every((name) => streams.has(name))) complete.resolve()
  })
  const running = connection.run().then(
    () => complete.reject(new Fault('canceled', 'the client left')),
    (error: unknown) => complete.reject(error),
  )
  using _timer = options.clock.after(openTimeoutMs, () => complete.reject(new Fault('timeout', 'the client did not open all its streams in time')), { background: true })
  try {
    await complete.promise
  } catch {
    // Nobody is left to be told.
    connection.close()
    return
  }
  await runCommand(streams, options.open, running)
  connection.end()
}

async function runCommand(streams: ReadonlyMap<string, SpdyStream>, open: () => Promise<Session>, left: Promise<void>): Promise<void> {
  const errors = streams.get('error')
  try {
    const session = await open()
    void left.then(() => session.close())
    streams.get('resize')?.on('data', (data: Buffer) => {
      const size = parseSize(data)
      if (size !== undefined) void resizeIfRunning(session, size)
    })
    const stdin = streams.get('stdin')
    if (stdin !== undefined && session.stdin !== undefined) void copy(stdin, session.stdin)
    const [stdout, stderr] = [streams.get('stdout'), streams.get('stderr')]
    await Promise.all([
      stdout === undefined || session.stdout === undefined ? undefined : copy(session.stdout, stdout),
      stderr === undefined || session.stderr === undefined ? undefined : copy(session.stderr, stderr),
    ])
    errors?.end(JSON.stringify(exitStatus(await session.exit)))
  } catch (error) {
    errors?.end(JSON.stringify(failureStatus(asFault(error).message)))
  }
  await new Promise<void>((resolve) => (errors === undefined || errors.writableFinished || errors.destroyed ? resolve() : errors.once('close', resolve).once('finish', resolve)))
}

/** One side breaking off is how these end. */
async function copy(from: NodeJS.ReadableStream, to: NodeJS.WritableStream): Promise<void> {
  try {
    await pipeline(from, to)
  } catch (error) {
    if (!(error instanceof Error)) throw error
  }
}

/** Connects each pair of streams to a port of the pod. Resolves when the client has left. */
export async function serveSpdyPorts(transport: Duplex, dial: (port: number) => Promise<Duplex>): Promise<void> {
  const pairs = new Map<string, { data?: SpdyStream; error?: SpdyStream }>()
  const connection = new SpdyConnection(transport, (stream) => {
    stream.on('error', () => {
      // A reset stream ends its connection; others go on.
    })
    const type = stream.headers.get('streamtype')
    const key = stream.headers.get('requestid') ?? String(stream.id)
    if (type !== 'data' && type !== 'error') return void stream.destroy(new Fault('invalidArgument', `a stream of type '${type}' has no meaning for port-forward`))
    const pair = pairs.get(key) ?? {}
    pair[type] = stream
    pairs.set(key, pair)
    if (pair.data === undefined || pair.error === undefined) return
    pairs.delete(key)
    void forward(pair.data, pair.error, dial)
  })
  await connection.run()
}

async function forward(data: SpdyStream, error: SpdyStream, dial: (port: number) => Promise<Duplex>): Promise<void> {
  const port = Number(data.headers.get('port'))
  try {
    if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new Fault('invalidArgument', `'${data.headers.get('port')}' is no port`)
    const target = await dial(port)
    await Promise.all([copy(data, target), copy(target, data)])
    error.end()
  } catch (failure) {
    error.end(`an error occurred forwarding port ${port}: ${asFault(failure).message}`)
    data.end()
  }
  // Neither side sends any more: the ids are free again.
  error.resume()
  data.resume()
}
