/** Sending files, by sendfile(2) and through memory: the bytes asked for, connections used again, and clients that are slow or go away. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, createServer, get, type IncomingMessage, type RequestListener } from 'node:http'
import { createServer as createTlsServer, get as getTls } from 'node:https'
import { type AddressInfo, connect, type Server } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { present } from '#base/assert.ts'
import { isFault } from '#base/fault.ts'
import { readBody } from '#base/http.ts'
import { selfSigned } from '#base/self-signed.fixture.ts'
import type { Sendfile } from '#linux/contract/sendfile.ts'
import { realSendfile } from '#linux/real/sendfile.ts'
import { bytesSent, sendFile } from './send-file.ts'

const content = randomBytes(20_000_000)
let root = ''
before(() => {
  root = mkdtempSync(join(present(process.env['BERTH_TEST_ROOT'], 'BERTH_TEST_ROOT'), 'sf-'))
  writeFileSync(join(root, 'f'), content)
})
after(() => rmSync(root, { recursive: true }))

interface How {
  readonly kernel: boolean
  /** Without a length the answer goes in chunks. */
  readonly withLength?: boolean
  readonly tls?: { readonly cert: string; readonly key: string }
}

/** Serves `/START-END` of the file. */
class Sender implements AsyncDisposable {
  /** What became of each sending: undefined, or its fault. */
  readonly sent: Promise<unknown>[] = []
  /** Bytes of each answer with its head, as the access log has them. */
  readonly counts: number[] = []
  /** What the kernel was asked for, and sent. */
  calls = 0
  byKernel = 0
  readonly #server: Server

  constructor({ kernel, withLength = true, tls }: How) {
    const handle: RequestListener = (req, res) => {
      const [start = 0, end = 0] = (req.url ?? '').slice(1).split('-').map(Number)
      const { socket } = req
      const sentBefore = bytesSent(socket)
      res.once('close', () => this.counts.push(bytesSent(socket) - sentBefore))
      res.writeHead(200, withLength ? { 'Content-Length': end - start } : {})
      this.sent.push(sendFile({ path: join(root, 'f'), start, end }, res, kernel ? this.#counting : undefined).catch((error: unknown) => {
        res.destroy()
        return error
      }))
    }
    this.#server = tls === undefined ? createServer(handle) : createTlsServer(tls, handle)
  }

  async listen(): Promise<number> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return (this.#server.address() as AddressInfo).port
  }

  readonly #counting: Sendfile = {
    open: (socket, file) => {
      const target = realSendfile.open(socket, file)
      if (target === undefined) return undefined
      const send = async (position: number, lengthBytes: number): Promise<number> => {
        this.calls += 1
        const taken = await target.send(position, lengthBytes)
        this.byKernel += taken
        return taken
      }
      return { send, [Symbol.dispose]: () => target[Symbol.dispose]() }
    },
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.sent)
    this.#server.close()
    await once(this.#server, 'close')
  }
}

async function answerOf(port: number, range: readonly [start: number, end: number], agent?: Agent): Promise<IncomingMessage> {
  const req = get({ host: '127.0.0.1', port, path: `/${range.join('-')}`, ...(agent === undefined ? {} : { agent }) })
  const [answer] = (await once(req, 'response')) as [IncomingMessage]
  return answer
}

async function bodyOf(answer: IncomingMessage): Promise<Buffer> {
  return await readBody(answer, { maxBytes: 3e7 })
}

const ranges = [[0, content.length], [1, 2], [524_287, 1_048_577], [7, 7], [content.length - 70_000, content.length]] as const

for (const kernel of [true, false]) {
  const way = kernel ? 'by sendfile(2)' : 'through memory'
  test(`${way}: the parts asked for arrive whole, over one connection, and are counted`, async () => {
    await using sender = new Sender({ kernel })
    const port = await sender.listen()
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const ports = new Set<number | undefined>()
    for (const range of ranges) {
      const answer = await answerOf(port, range, agent)
      ports.add(answer.socket.localPort)
      assert.ok((await bodyOf(answer)).equals(content.subarray(...range)))
    }
    assert.equal(ports.size, 1)
    assert.deepEqual(await Promise.all(sender.sent), ranges.map(() => undefined))
    assert.deepEqual(sender.counts.map((count, index) => count - ((ranges[index]?.[1] ?? 0) - (ranges[index]?.[0] ?? 0))).filter((head) => head <= 0 || head > 500), [])
    // All but what Node writes itself while the connection is full.
    if (kernel) assert.ok(sender.byKernel > content.length / 4, `${sender.byKernel} bytes`)
    else assert.equal(sender.byKernel, 0)
    agent.destroy()
  })

  test(`${way}: a client that goes away ends the sending, and the next one is served`, async () => {
    await using sender = new Sender({ kernel })
    const port = await sender.listen()
    const answer = await answerOf(port, [0, content.length])
    await once(answer, 'data')
    answer.destroy()
    assert.ok(isFault(await sender.sent[0], 'canceled'))
    assert.ok((await bodyOf(await answerOf(port, [3, 3_000_000]))).equals(content.subarray(3, 3_000_000)))
  })

  test(`${way}: clients that hang up as soon as they have all have had all`, async () => {
    await using sender = new Sender({ kernel })
    const port = await sender.listen()
    for (let turn = 0; turn < 20; turn += 1) {
      const client = connect(port, '127.0.0.1')
      client.write('GET /0-600000 HTTP/1.1\r\nHost: x\r\n\r\n')
      let tail = Buffer.alloc(0)
      for await (const chunk of client) {
        tail = Buffer.concat([tail, chunk as Buffer]).subarray(-32)
        if (tail.equals(content.subarray(600_000 - 32, 600_000))) break
      }
    }
    assert.deepEqual(new Set(await Promise.all(sender.sent)), new Set([undefined]))
  })

  test(`${way}: a file shorter than said is a loss of data, and the client sees that its answer is not whole`, async () => {
    await using sender = new Sender({ kernel })
    const answer = await answerOf(await sender.listen(), [content.length - 1_000_000, content.length + 1])
    await assert.rejects(bodyOf(answer))
    assert.ok(isFault(await sender.sent[0], 'dataLoss'))
  })

  test(`${way}: requests sent at once are answered in turn`, async () => {
    await using sender = new Sender({ kernel })
    const client = connect(await sender.listen(), '127.0.0.1')
    client.write('GET /0-5000000 HTTP/1.1\r\nHost: x\r\n\r\nGET /5000000-9000000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    const chunks: Buffer[] = []
    for await (const chunk of client) chunks.push(chunk as Buffer)
    const all = Buffer.concat(chunks)
    const first = all.indexOf('\r\n\r\n') + 4
    assert.ok(all.subarray(first, first + 5_000_000).equals(content.subarray(0, 5_000_000)))
    const second = all.indexOf('\r\n\r\n', first + 5_000_000) + 4
    assert.ok(all.subarray(second).equals(content.subarray(5_000_000, 9_000_000)))
  })
}

test('by sendfile(2): clients that take nothing hold nobody up, and have all in the end', async () => {
  await using sender = new Sender({ kernel: true })
  const port = await sender.listen()
  const slow = await Promise.all(Array.from({ length: 12 }, () => answerOf(port, [0, content.length])))
  const served = await Promise.all(Array.from({ length: 12 }, async () => await bodyOf(await answerOf(port, [0, 4_000_000]))))
  assert.ok(served.every((body) => body.equals(content.subarray(0, 4_000_000))))
  for (const answer of slow) assert.ok((await bodyOf(answer)).equals(content))
  assert.deepEqual(new Set(await Promise.all(sender.sent)), new Set([undefined]))
  // Never in a circle while a connection is full: Node waits.
  assert.ok(sender.calls < 5000, `${sender.calls} calls`)
})

test('what goes in chunks goes through memory', async () => {
  await using sender = new Sender({ kernel: true, withLength: false })
  assert.ok((await bodyOf(await answerOf(await sender.listen(), [0, content.length]))).equals(content))
  assert.equal(sender.calls, 0)
})

test('what goes over TLS goes through memory', async () => {
  await using sender = new Sender({ kernel: true, tls: await selfSigned() })
  const req = getTls({ host: '127.0.0.1', port: await sender.listen(), path: `/0-${content.length}`, rejectUnauthorized: false, agent: false })
  const [answer] = (await once(req, 'response')) as [IncomingMessage]
  assert.ok((await bodyOf(answer)).equals(content))
  assert.equal(sender.calls, 0)
})
