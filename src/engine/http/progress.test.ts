/** The progress stream on the wire: docker-py and others take a chunk for a message. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { ProgressStream } from './progress.ts'

test('each message of a progress stream is a chunk of its own, also where two are written at once', async () => {
  const server = createServer((_req, res) => {
    const out = new ProgressStream(res)
    out.line({ stream: 'one' })
    out.line({ stream: 'two' })
    out.end()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const socket = connect(port, '127.0.0.1')
  socket.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
  const answer = await text(socket)
  server.close()
  assert.equal(answer.slice(answer.indexOf('\r\n\r\n') + 4), '12\r\n{"stream":"one"}\r\n\r\n12\r\n{"stream":"two"}\r\n\r\n0\r\n\r\n')
})
