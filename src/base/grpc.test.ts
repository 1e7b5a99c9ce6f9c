/** gRPC's calls against an HTTP/2 server of Node's own, and messages cut at every place. */
import assert from 'node:assert/strict'
import { connect, createServer, type ServerHttp2Stream } from 'node:http2'
import { test } from 'node:test'
import fc from 'fast-check'
import { isFault } from './fault.ts'
import { callOnce, grpcFrame, grpcMessages, openCall } from './grpc.ts'

async function* inPieces(bytes: Buffer, cuts: readonly number[]): AsyncGenerator<Buffer> {
  let from = 0
  for (const cut of [...new Set(cuts.map((each) => each % (bytes.length + 1)))].sort((a, b) => a - b)) {
    yield bytes.subarray(from, cut)
    from = cut
  }
  yield bytes.subarray(from)
}

test('messages come out whole, wherever the stream is cut; a message cut short is told', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 40 })), fc.array(fc.nat(500)), async (messages, cuts) => {
      const bytes = Buffer.concat(messages.map((message) => grpcFrame(Buffer.from(message))))
      const found: number[][] = []
      for await (const message of grpcMessages(inPieces(bytes, cuts))) found.push([...message])
      assert.deepEqual(found, messages.map((message) => [...message]))
      if (bytes.length > 0) await assert.rejects(Array.fromAsync(grpcMessages(inPieces(bytes.subarray(0, -1), cuts))), (error) => isFault(error, 'unavailable'))
    }),
  )
})

test('a message above the limit, and a compressed one, are refused before they are read', async () => {
  const head = (compressed: number, length: number): Buffer => Buffer.from([compressed, ...new Uint8Array(new Uint32Array([length]).buffer).reverse()])
  await assert.rejects(Array.fromAsync(grpcMessages(inPieces(head(0, 0x7fffffff), []))), (error) => isFault(error, 'tooLarge'))
  await assert.rejects(Array.fromAsync(grpcMessages(inPieces(head(1, 4), []))), (error) => isFault(error, 'unimplemented'))
})

test('calls carry messages both ways, and a status is a fault of its code', async () => {
  const server = createServer()
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    stream.on('error', () => stream.destroy())
    switch (headers[':path']) {
      case '/t.T/Echo':
        stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
        stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
        stream.pipe(stream)
        return
      case '/t.T/Refuse':
        // Headers that are trailers at once.
        stream.respond({ ':status': 200, 'grpc-status': '5', 'grpc-message': `no%20such ${String(headers['who'])}` }, { endStream: true })
        return
      default:
        stream.close(2)
    }
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  const session = connect(`http://127.0.0.1:${address.port}`)
  try {
    assert.deepEqual(await callOnce(session, '/t.T/Echo', Buffer.from('hello')), Buffer.from('hello'))
    const call = openCall(session, '/t.T/Echo')
    const sent = Array.from({ length: 50 }, (_, index) => Buffer.alloc(100_000, index))
    const sending = (async () => {
      for (const message of sent) await call.send(message)
      call.end()
    })()
    const received = await Array.fromAsync(call.receive())
    await sending
    assert.deepEqual(received, sent)
    await assert.rejects(callOnce(session, '/t.T/Refuse', Buffer.alloc(0), { metadata: { who: 'thing' } }), (error) => isFault(error, 'notFound') && error.message === 'no such thing')
    await assert.rejects(callOnce(session, '/t.T/Broken', Buffer.alloc(0)), (error) => isFault(error, 'unavailable'))
    const aborted = new AbortController()
    const waiting = callOnce(session, '/t.T/Echo', Buffer.alloc(0), { signal: aborted.signal })
    await waiting
    const silent = openCall(session, '/t.T/Echo', { signal: aborted.signal })
    const reading = Array.fromAsync(silent.receive())
    aborted.abort()
    await assert.rejects(reading, (error) => isFault(error, 'unavailable'))
  } finally {
    session.destroy()
    server.close()
  }
})
