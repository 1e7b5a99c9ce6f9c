/** The main thread's side of the poller: starts the worker, wakes it, and turns its events into promises and streams. */
import { writeSync } from 'node:fs'
import { Socket } from 'node:net'
import { Worker } from 'node:worker_threads'
import { unreachable } from '#base/assert.ts'
import type { Clock, Timer } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import type { Poller, PacketSocket } from '../../contract/poller.ts'
import type { ExitStatus } from '../../contract/processes.ts'
import { fromFaultMessage } from '../faultMessage.ts'
import { workerOptions } from '../thread.ts'
import type { PollerEvent, PollerRequest } from './messages.ts'
import { BridgedSocket } from './packetSocket.ts'

/** A reader that takes nothing for so long is cut off. */
const defaultStallMs = 30_000

interface Connection {
  readonly stallMs: number
  readonly opened: PromiseWithResolvers<PacketSocket>
  socket?: BridgedSocket
  stall?: Timer
}

export class KernelPoller implements Pick<Poller, 'connectSeqpacket'>, AsyncDisposable {
  readonly #clock: Clock
  readonly #ending = new Int32Array(new SharedArrayBuffer(4))
  readonly #worker: Worker
  readonly #exits = new Map<number, PromiseWithResolvers<ExitStatus>>()
  readonly #connections = new Map<number, Connection>()
  readonly #ready = Promise.withResolvers<void>()
  readonly #onProcessExit = (): void => this.#endWorker()
  #wakeFd: number | undefined
  #nextId = 0

  constructor(clock: Clock) {
    this.#clock = clock
    this.#worker = new Worker(new URL('./worker.ts', import.meta.url), { name: 'poller', workerData: this.#ending, ...workerOptions })
    this.#worker.on('message', (event: PollerEvent) => this.#onEvent(event))
    this.#worker.on('error', (error) => this.#fail(new Fault('internal', 'the poller failed', { cause: error })))
    // Node joins its workers before it exits; one inside epoll_wait would keep it for ever.
    process.on('exit', this.#onProcessExit)
  }

  async ready(): Promise<void> {
    await this.#ready.promise
    this.#worker.unref()
  }

  /** Resolves when the process is gone. Of a child, which is reaped, with its status. */
  watchExit(request: { readonly pid: number; readonly startTime?: bigint; readonly child: boolean; readonly signal?: AbortSignal }): Promise<ExitStatus> {
    const waiting = Promise.withResolvers<ExitStatus>()
    const id = this.#newId()
    this.#hold(() => this.#exits.set(id, waiting))
    this.#send({ kind: 'watchExit', id, pid: request.pid, startTime: request.startTime, child: request.child })
    const onAbort = (): void => {
      this.#send({ kind: 'forget', id })
      this.#release(() => this.#exits.delete(id))
      waiting.reject(new Fault('canceled', `watching process ${request.pid} was canceled`))
    }
    request.signal?.addEventListener('abort', onAbort, { once: true })
    return waiting.promise.finally(() => request.signal?.removeEventListener('abort', onAbort))
  }

  connectSeqpacket(path: string, options: { readonly stallMs?: number } = {}): Promise<PacketSocket> {
    const id = this.#newId()
    const connection: Connection = { stallMs: options.stallMs ?? defaultStallMs, opened: Promise.withResolvers() }
    this.#hold(() => this.#connections.set(id, connection))
    this.#send({ kind: 'connect', id, path })
    return connection.opened.promise
  }

  #newId(): number {
    this.#nextId += 1
    return this.#nextId
  }

  /** The worker keeps the process alive only while an answer of it is waited for. */
  #hold(register: () => void): void {
    register()
    this.#worker.ref()
  }

  #release(unregister: () => void): void {
    unregister()
    const opening = [...this.#connections.values()].some((connection) => connection.socket === undefined)
    if (this.#exits.size === 0 && !opening) this.#worker.unref()
  }

  #send(request: PollerRequest): void {
    this.#worker.postMessage(request)
    this.#wake()
  }

  #wake(): void {
    if (this.#wakeFd === undefined) return
    const one = Buffer.alloc(8)
    one.writeBigUInt64LE(1n)
    writeSync(this.#wakeFd, one)
  }

  #endWorker(): void {
    Atomics.store(this.#ending, 0, 1)
    this.#wake()
  }

  #onEvent(event: PollerEvent): void {
    switch (event.kind) {
      case 'ready':
        this.#wakeFd = event.wakeFd
        this.#ready.resolve()
        // Requests may have been sent before.
        return this.#wake()
      case 'exited': {
        const waiting = this.#exits.get(event.id)
        this.#release(() => this.#exits.delete(event.id))
        return waiting?.resolve({ exitCode: event.exitCode, signal: event.signal })
      }
      case 'connected':
        return this.#onConnected(event)
      case 'stalled':
        return this.#onStalled(event.id)
      case 'flowing':
        return this.#connections.get(event.id)?.stall?.cancel()
      case 'failed': {
        const fault = fromFaultMessage(event.fault)
        this.#exits.get(event.id)?.reject(fault)
        this.#connections.get(event.id)?.opened.reject(fault)
        return this.#release(() => {
          this.#exits.delete(event.id)
          this.#connections.delete(event.id)
        })
      }
      default:
        return unreachable(event)
    }
  }

  #onConnected({ id, fd }: { readonly id: number; readonly fd: number }): void {
    const connection = this.#connections.get(id)
    if (connection === undefined) return
    const socket = new BridgedSocket(new Socket({ fd, allowHalfOpen: true }))
    connection.socket = socket
    socket.once('close', () => {
      connection.stall?.cancel()
      this.#connections.delete(id)
    })
    this.#release(() => undefined)
    connection.opened.resolve(socket)
  }

  #onStalled(id: number): void {
    const connection = this.#connections.get(id)
    if (connection === undefined) return
    connection.stall = this.#clock.after(
      connection.stallMs,
      () => {
        this.#send({ kind: 'cutOff', id })
        connection.socket?.cutOff(new Fault('resourceExhausted', `the reader took nothing for ${connection.stallMs} ms while output was waiting, and was cut off`))
      },
      { background: true },
    )
  }

  #fail(fault: Fault): void {
    for (const waiting of this.#exits.values()) waiting.reject(fault)
    for (const connection of this.#connections.values()) connection.opened.reject(fault)
    this.#exits.clear()
    this.#connections.clear()
    this.#ready.reject(fault)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    process.off('exit', this.#onProcessExit)
    await this.#ready.promise
    this.#worker.ref()
    const ended = new Promise((resolve) => this.#worker.once('exit', resolve))
    this.#endWorker()
    await ended
    this.#fail(new Fault('canceled', 'the kernel room was closed'))
  }
}
