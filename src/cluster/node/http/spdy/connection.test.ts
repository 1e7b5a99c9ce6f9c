/** SPDY/3.1 as a Go client speaks it: header blocks, streams, half-close, ping. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, connect } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { test } from 'node:test'
import { deflateSync } from 'node:zlib'
import fc from 'fast-check'
import { isFault } from '#base/fault.ts'
import { headerDictionary } from './dictionary.ts'
import { formatHeaders, HeaderReader, HeaderWriter, parseHeaders } from './headers.ts'
import type { SpdyStream } from './connection.ts'
import { SpdyConnection } from './connection.ts'

test('the dictionary has the length and the Adler-32 that the draft’s has', () => {
  let a = 1
  let b = 0
  for (const byte of headerDictionary) {
    a = (a + byte) % 65_521
    b = (b + a) % 65_521
  }
  assert.equal(headerDictionary.length, 1423)
  assert.equal(((b << 16) | a) >>> 0, 0xe3c6a7c2)
})

test('header blocks of one connection share a context in both directions', async () => {
  using writer = new HeaderWriter()
  using reader = new HeaderReader()
  for (const headers of [new Map([['streamtype', 'error'], ['port', '80']]), new Map<string, string>(), new Map([['streamtype', 'data'], ['port', '80']])]) {
    assert.deepEqual(await reader.read(await writer.write(headers)), headers)
  }
})

test('property: header blocks are read as they were written; broken ones are refused', () => {
  const headers = fc.dictionary(fc.stringMatching(/^[a-z-]{1,10}$/), fc.string()).map((each) => new Map(Object.entries(each)))
  fc.assert(fc.property(headers, (each) => assert.deepEqual(parseHeaders(formatHeaders(each)), each)))
  assert.throws(() => parseHeaders(Buffer.from('00000001000000ff', 'hex')), /ends too early/)
})

test('a block that unpacks to more than a block may have is refused before it fills the memory', async () => {
  using reader = new HeaderReader()
  const bomb = deflateSync(Buffer.alloc(64 * 1024 * 1024), { dictionary: headerDictionary })
  assert.ok(bomb.length < 100_000)
  await assert.rejects(reader.read(bomb), (error) => isFault(error, 'tooLarge'))
})

interface Peer {
  readonly socket: Socket
  readonly frame: () => Promise<Buffer>
}

/** A client that writes frames by hand. */
async function withPeer(onStream: (stream: SpdyStream) => void, body: (peer: Peer) => Promise<void>): Promise<void> {
  const server = createServer((socket) => void new SpdyConnection(socket, onStream).run())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address() as AddressInfo
  const socket = connect(address.port, '127.0.0.1')
  await once(socket, 'connect')
  let received = Buffer.alloc(0)
  const frame = async (): Promise<Buffer> => {
    while (received.length < 8 || received.length < 8 + (received.readUInt32BE(4) & 0xffffff)) {
      const [chunk] = (await once(socket, 'data')) as [Buffer]
      received = Buffer.concat([received, chunk])
    }
    const length = 8 + (received.readUInt32BE(4) & 0xffffff)
    const whole = Buffer.from(received.subarray(0, length))
    received = received.subarray(length)
    return whole
  }
  try {
    await body({ socket, frame })
  } finally {
    socket.destroy()
    await new Promise<void>((resolve) => server.close(() => resolve()))
  }
}

const controlFrame = (type: number, payload: Buffer, flags = 0): Buffer => {
  const header = Buffer.from([0x80, 3, 0, type, flags, 0, 0, 0])
  header.writeUIntBE(payload.length, 5, 3)
  return Buffer.concat([header, payload])
}

const dataFrame = (id: number, text: string, flags = 0): Buffer => {
  const header = Buffer.from([0, 0, 0, id, flags, 0, 0, 0])
  header.writeUIntBE(text.length, 5, 3)
  return Buffer.concat([header, Buffer.from(text)])
}

test('streams are accepted, carry data both ways and close by halves; a ping comes back', async () => {
  using writer = new HeaderWriter()
  using reader = new HeaderReader()
  const open = async (id: number, headers: Map<string, string>, flags = 0): Promise<Buffer> => controlFrame(1, Buffer.concat([Buffer.from([0, 0, 0, id, 0, 0, 0, 0, 0, 0]), await writer.write(headers)]), flags)
  const types: (string | undefined)[] = []
  const echo = (stream: SpdyStream): void => {
    types.push(stream.headers.get('streamtype'))
    stream.pipe(stream)
  }
  await withPeer(echo, async ({ socket, frame }) => {
    socket.write(await open(1, new Map([['streamtype', 'data']])))
    const reply = await frame()
    assert.deepEqual([...reply.subarray(0, 4)], [0x80, 3, 0, 2])
    assert.equal(reply.readUInt32BE(8), 1)
    assert.deepEqual(await reader.read(reply.subarray(12)), new Map())
    socket.write(await open(3, new Map([['streamtype', 'error']])))
    assert.equal((await frame()).readUInt32BE(8), 3)
    socket.write(dataFrame(1, 'hello'))
    assert.equal((await frame()).subarray(8).toString(), 'hello')
    socket.write(controlFrame(6, Buffer.from([0, 0, 0, 1])))
    assert.deepEqual([...(await frame())], [...controlFrame(6, Buffer.from([0, 0, 0, 1]))])
    socket.write(dataFrame(1, '', 1))
    const last = await frame()
    assert.deepEqual([last.readUInt32BE(0), last[4]], [1, 1])
    assert.deepEqual(types, ['data', 'error'])
  })
})
