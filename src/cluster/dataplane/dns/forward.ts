/** Questions that are not the cluster's: passed to the configured resolvers one after the other, over UDP, then TCP where the answer was cut short. */
import { createSocket } from 'node:dgram'
import { connect } from 'node:net'
import type { Clock } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import type { Random } from '#base/random.ts'
import { randomInt } from '#base/random.ts'
import { Gate } from '#base/task.ts'

export interface ForwarderOptions {
  /** `192.0.2.53` or `192.0.2.53:5353`. */
  readonly upstreams: readonly string[]
  readonly clock: Clock
  readonly random: Random
}

export type Forward = (message: Buffer, transport: 'udp' | 'tcp') => Promise<Buffer>

const timeoutMs = 2000
const parallel = 100
const queueLimit = 1000
const truncatedBit = 0x0200

/** Undefined when no resolver is configured. The answer carries the question's own id; `unavailable` when nobody answered in time. */
export function forwarder({ upstreams, clock, random }: ForwarderOptions): Forward | undefined {
  if (upstreams.length === 0) return undefined
  const gate = new Gate(parallel, queueLimit)
  return (message, transport) =>
    gate.run(async () => {
      const id = message.readUInt16BE(0)
      let failure: unknown
      for (const upstream of upstreams) {
        try {
          // An id of our own and a port of the kernel's choice: an answer cannot be guessed.
          const outgoing = Buffer.from(message)
          outgoing.writeUInt16BE(randomInt(random, 65_536), 0)
          let answer = await askUdp(upstream, outgoing, clock)
          if (transport === 'tcp' && (answer.readUInt16BE(2) & truncatedBit) !== 0) answer = await askTcp(upstream, outgoing, clock)
          answer.writeUInt16BE(id, 0)
          return answer
        } catch (error) {
          failure = error
        }
      }
      throw new Fault('unavailable', `no resolver answered (${upstreams.join(', ')})`, { cause: failure })
    })
}

function place(upstream: string): { host: string; port: number } {
  const match = /^(\d+\.\d+\.\d+\.\d+):(\d+)$/.exec(upstream)
  return match === null ? { host: upstream, port: 53 } : { host: match[1] ?? '', port: Number(match[2]) }
}

function askUdp(upstream: string, message: Buffer, clock: Clock): Promise<Buffer> {
  const { host, port } = place(upstream)
  return new Promise((resolve, reject) => {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
    const finish = (done: () => void): void => {
      timer.cancel()
      socket.close()
      done()
    }
    const timer = clock.after(timeoutMs, () => finish(() => reject(new Fault('timeout', `${upstream} did not answer within ${timeoutMs} ms`))))
    socket.on('error', (error) => finish(() => reject(new Fault('unavailable', `${upstream}: ${error.message}`, { cause: error }))))
    socket.on('message', (answer) => {
      // Something else that came to our port is no answer.
      if (answer.length >= 12 && answer.readUInt16BE(0) === message.readUInt16BE(0)) finish(() => resolve(answer))
    })
    socket.connect(port, host, () => socket.send(message))
  })
}

function askTcp(upstream: string, message: Buffer, clock: Clock): Promise<Buffer> {
  const { host, port } = place(upstream)
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port })
    const timer = clock.after(timeoutMs, () => socket.destroy(new Fault('timeout', `${upstream} did not answer within ${timeoutMs} ms`)))
    let received = Buffer.alloc(0)
    socket.on('connect', () => {
      const length = Buffer.alloc(2)
      length.writeUInt16BE(message.length)
      socket.write(Buffer.concat([length, message]))
    })
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return
      timer.cancel()
      resolve(Buffer.from(received.subarray(2, 2 + received.readUInt16BE(0))))
      socket.destroy()
    })
    socket.on('error', (error) => {
      timer.cancel()
      reject(error)
    })
    socket.on('close', () => reject(new Fault('unavailable', `${upstream} closed the connection`)))
  })
}
