/** A sandbox's name server by itself: forwarding, failures, TCP, truncation, and whatever a container may send. */
import assert from 'node:assert/strict'
import { createSocket, type Socket } from 'node:dgram'
import { connect } from 'node:net'
import { after, before, test } from 'node:test'
import { decode, encode, type DecodedPacket } from 'dns-packet'
import fc from 'fast-check'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/log.ts'
import { openKernel } from '#linux/real/kernel.ts'
import { NameServer } from './name-server.ts'
import type { NamedEndpoint } from './names.ts'

const crowd: readonly NamedEndpoint[] = Array.from({ length: 60 }, (_, index) => ({ networkName: 'shop', ipv4Address: `10.0.0.${index + 1}`, ipv6Address: index === 4 ? 'fd00::5' : '', aliases: [`c${index}`, 'all'] }))
let upstream: Socket
let server: NameServer
let port = 0
let kernel: Awaited<ReturnType<typeof openKernel>>
let upstreams = ['127.53.0.7']

before(async () => {
  upstream = createSocket('udp4')
  upstream.on('message', (message, from) => {
    const { id, questions } = decode(message)
    upstream.send(encode({ type: 'response', id, questions, answers: [{ type: 'A', name: questions?.[0]?.name ?? '', data: '192.0.2.1' }] }), from.port, from.address)
  })
  await new Promise<void>((resolve) => upstream.bind(53, '127.53.0.7', resolve))
  kernel = await openKernel()
  const { port: bound, ...sockets } = await kernel.poller.bindBoth({ netns: '/proc/self/ns/net', host: '127.0.0.1' })
  port = bound
  server = await NameServer.open({ sockets, visible: () => crowd, upstreams: async () => upstreams, clock: systemClock, logger: silentLogger })
})

after(async () => {
  await server[Symbol.asyncDispose]()
  upstream.close()
  await kernel[Symbol.asyncDispose]()
})

function query(name: string): Buffer {
  return encode({ type: 'query', id: 77, flags: 256, questions: [{ type: 'A', name }] })
}

function overUdp(message: Buffer): Promise<DecodedPacket> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4')
    socket.once('error', reject)
    socket.once('message', (reply) => {
      socket.close()
      resolve(decode(reply))
    })
    socket.send(message, port, '127.0.0.1')
  })
}

function overTcp(message: Buffer): Promise<DecodedPacket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('error', reject)
    let answer = Buffer.alloc(0)
    socket.on('data', (chunk: Buffer) => {
      answer = Buffer.concat([answer, chunk])
      if (answer.length < 2 || answer.length < 2 + answer.readUInt16BE(0)) return
      socket.destroy()
      resolve(decode(answer.subarray(2)))
    })
    socket.write(Buffer.concat([Buffer.from([message.length >> 8, message.length & 255]), message]))
  })
}

function addresses({ answers }: DecodedPacket): string[] {
  return (answers ?? []).map((answer) => (answer.type === 'A' ? answer.data : answer.type)).sort()
}

test('names of the network are answered here, others by the resolvers of the host', async () => {
  assert.deepEqual(addresses(await overUdp(query('c4'))), ['10.0.0.5'])
  assert.deepEqual(addresses(await overUdp(query('example.org'))), ['192.0.2.1'])
})

test('without a resolver that answers, the failure is said and not kept silent', async () => {
  upstreams = []
  const reply = await overUdp(query('example.org'))
  upstreams = ['127.53.0.7']
  assert.equal((reply as { readonly rcode?: string }).rcode, 'SERVFAIL')
  assert.equal(reply.id, 77)
})

test('an answer too long for UDP is cut and complete over TCP', async () => {
  const cut = await overUdp(query('all'))
  assert.equal(cut.flag_tc, true)
  assert.deepEqual(addresses(cut), [])
  assert.equal(addresses(await overTcp(query('all'))).length, 60)
})

test('whatever arrives, the server goes on', async () => {
  const socket = createSocket('udp4')
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 80 }), async (bytes) => {
      await new Promise<void>((resolve) => socket.send(bytes, port, '127.0.0.1', () => resolve()))
    }),
    { numRuns: 200 },
  )
  socket.close()
  assert.deepEqual(addresses(await overUdp(query('c1'))), ['10.0.0.2'])
})
