/**
 * The poller's worker: sits in epoll_wait and never returns to Node's event loop, so its messages are taken by
 * receiveMessageOnPort after a wake-up through an eventfd.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { present, unreachable } from '#base/assert.ts'
import { collectGarbage } from '#base/collect-garbage.ts'
import { saveCompiled } from '#base/compile-cache.ts'
import { toFaultMessage } from '../faultMessage.ts'
import { check, libc, O_CLOEXEC, O_NONBLOCK } from '../libc.ts'
import { Bridge } from './bridge.ts'
import { Epoll, EPOLLIN } from './epoll.ts'
import { Exits } from './exits.ts'
import type { PollerEvent, PollerRequest } from './messages.ts'

const port = present(parentPort, "the poller's port")
/** One flag: the process is ending; set by the main thread's exit hook, when no message can be sent any more. */
const ending: Int32Array = workerData

const post = (event: PollerEvent): void => port.postMessage(event)
const epoll = new Epoll()
const exits = new Exits(epoll, post)
const bridges = new Map<number, Bridge>()
let running = true

function handle(request: PollerRequest): void {
  switch (request.kind) {
    case 'watchExit':
      return exits.watch(request)
    case 'forget':
      return exits.forget(request.id)
    case 'connect':
      return connect(request)
    case 'cutOff':
      return bridges.get(request.id)?.close()
    case 'stop':
      running = false
      return
    default:
      return unreachable(request)
  }
}

function connect({ id, path }: { readonly id: number; readonly path: string }): void {
  const bridge = new Bridge(epoll, path, {
    stalled: () => post({ kind: 'stalled', id }),
    flowing: () => post({ kind: 'flowing', id }),
    closed: () => bridges.delete(id),
  })
  bridges.set(id, bridge)
  post({ kind: 'connected', id, fd: bridge.peerFd })
}

const wakeFd = check(libc.eventfd(0, O_CLOEXEC | O_NONBLOCK), 'open an eventfd')
const counter = Buffer.alloc(8)
epoll.add(wakeFd, EPOLLIN, () => {
  libc.read(wakeFd, counter, 8)
  for (let received = receiveMessageOnPort(port); received !== undefined; received = receiveMessageOnPort(port)) {
    const request: PollerRequest = received.message
    try {
      handle(request)
    } catch (error) {
      post({ kind: 'failed', id: 'id' in request ? request.id : -1, fault: toFaultMessage(error) })
    }
  }
})

post({ kind: 'ready', wakeFd })
saveCompiled()
// It will not come to rest again: what only its start needed goes now.
collectGarbage()
while (running && Atomics.load(ending, 0) === 0) epoll.wait()
port.close()
