/**
 * All clients attached to one container share one attachment of the runtime. Clients may come before the container runs: then
 * the launch attaches before the process starts, and no byte is lost. The hub ends with each exit; clients end with it.
 */
import { PassThrough, type Writable } from 'node:stream'
import type { Clock } from '#base/clock.ts'
import type { StreamSession } from '../contract/containers.ts'
import type { Attachment, OutputChannel, Runtime } from '../contract/runtime.ts'
import { OutputQueue } from './output-queue.ts'

export interface HubOptions {
  readonly clock: Clock
  readonly runtime: Pick<Runtime, 'attach'>
  readonly id: string
  /** Whether the end of a client's input is the end of the container's (`StdinOnce`). */
  readonly endStdinWithClient: boolean
  readonly hasStdin: boolean
  readonly onStdinError: (error: Error) => void
}

export class StreamHub {
  readonly #options: HubOptions
  readonly #sessions = new Set<{ readonly queue: OutputQueue; readonly stdin: PassThrough | undefined }>()
  #attachment: Promise<Attachment> | undefined

  constructor(options: HubOptions) {
    this.#options = options
  }

  get wanted(): boolean {
    return this.#sessions.size > 0
  }

  /** Adds a client. `running`: joins the container's streams now; otherwise `connect` will, at the launch. */
  async join(want: { readonly stdin: boolean; readonly stdout: boolean; readonly stderr: boolean }, running: boolean): Promise<StreamSession> {
    const stdin = want.stdin && this.#options.hasStdin ? new PassThrough() : undefined
    const session = {
      stdin,
      queue: new OutputQueue({
        clock: this.#options.clock,
        accepts: (channel) => (channel === 'stdout' ? want.stdout : want.stderr),
        onClosed: () => this.#leave(session),
      }),
    }
    this.#sessions.add(session)
    const attached = this.#attachment
    if (attached !== undefined) void attached.then((attachment) => this.#pipeStdin(attachment, stdin), toldElsewhere)
    else if (running) await this.connect()
    const close = (): void => session.queue.discard()
    return { output: session.queue, stdin, close, [Symbol.dispose]: close }
  }

  /** Joins the runtime's streams for all who wait. Called by the launch between create and start, and by late comers. */
  async connect(): Promise<void> {
    if (this.#attachment !== undefined) {
      await this.#attachment
      return
    }
    // An attachment that is being left may still deliver what the next one delivers too.
    const attaching: Promise<Attachment> = this.#options.runtime.attach(this.#options.id, { write: (channel, data) => (this.#attachment === attaching ? this.#spread(channel, data) : undefined) })
    this.#attachment = attaching
    try {
      const attachment = await attaching
      // When the container ended, or the last client left.
      void attachment.closed.then(() => this.#endOf(attaching))
      for (const { stdin } of this.#sessions) this.#pipeStdin(attachment, stdin)
    } catch (error) {
      this.end()
      throw error
    }
  }

  /** Resolves when those attached have been given the last byte; at once when nobody is. Somebody who holds the streams open is not waited for. */
  async drained(withinMs: number): Promise<void> {
    const attaching = this.#attachment
    if (attaching === undefined) return
    const late = Promise.withResolvers<void>()
    using timer = this.#options.clock.after(withinMs, late.resolve, { background: true })
    void timer
    await Promise.race([attaching.then(({ closed }) => closed, toldElsewhere), late.promise])
  }

  #spread(channel: OutputChannel, data: Buffer): void | Promise<void> {
    const pending: Promise<void>[] = []
    for (const { queue } of this.#sessions) {
      const held = queue.write(channel, data)
      if (held !== undefined) pending.push(held)
    }
    return pending.length === 0 ? undefined : Promise.all(pending).then(() => undefined)
  }

  /** The container is gone: clients that the runtime still serves end with its stream, the others now. */
  finish(): void {
    if (this.#attachment === undefined) this.end()
  }

  /** Ends every client after what is queued (the stream ended, or the container could not start). */
  end(): void {
    this.#attachment = undefined
    for (const { queue, stdin } of [...this.#sessions]) {
      queue.end()
      stdin?.destroy()
    }
  }

  #endOf(attaching: Promise<Attachment>): void {
    if (this.#attachment === attaching) this.end()
  }

  #pipeStdin(attachment: Attachment, stdin: PassThrough | undefined): void {
    const target: Writable | undefined = attachment.stdin
    if (stdin === undefined || target === undefined) return
    // Once, however many clients come and go.
    target.off('error', this.#options.onStdinError)
    target.on('error', this.#options.onStdinError)
    stdin.pipe(target, { end: this.#options.endStdinWithClient })
  }

  #leave(session: { readonly queue: OutputQueue; readonly stdin: PassThrough | undefined }): void {
    this.#sessions.delete(session)
    session.stdin?.end()
    if (this.#sessions.size > 0 || this.#attachment === undefined) return
    const leaving = this.#attachment
    this.#attachment = undefined
    void leaving.then((attachment) => attachment.close(), toldElsewhere)
  }
}

/** An attachment that fails rejects `connect`, which ends every session. */
function toldElsewhere(): void {
  return undefined
}
