/** A session ends with its client, however that goes. */
import assert from 'node:assert/strict'
import { createServer as createHttp2Server } from 'node:http2'
import { mkdtempDisposableSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { present } from '#base/assert.ts'
import { systemClock } from '#base/clock.ts'
import { Sessions } from './sessions.ts'

const ways: readonly { readonly how: string; readonly leave: (socket: Socket) => unknown }[] = [
  { how: 'ends its side only', leave: (socket) => socket.end() },
  { how: 'closes the connection', leave: (socket) => socket.destroy() },
]

for (const { how, leave } of ways) {
  test(`the connection of a client that ${how} is closed, and the session is over`, async () => {
    using folder = mkdtempDisposableSync(join(present(process.env['BERTH_TEST_ROOT'], 'BERTH_TEST_ROOT'), 'se-'))
    const path = join(folder.path, 's')
    const sessions = new Sessions(systemClock)
    const accepted = Promise.withResolvers<Socket>()
    // As HTTP's own server accepts.
    const server = createServer({ allowHalfOpen: true }, accepted.resolve)
    await new Promise<void>((done) => server.listen(path, done))
    const client = connect({ path, allowHalfOpen: true })
    const http = createHttp2Server()
    http.emit('connection', client)
    const socket = await accepted.promise
    const closed = new Promise<void>((done) => socket.once('close', () => done()))
    const served = sessions.serve(socket, { id: 'one', methods: [] })
    await sessions.get('one')
    leave(client)
    await Promise.all([served, closed])
    client.destroy()
    await new Promise<void>((done) => server.close(() => done()))
    assert.equal(socket.destroyed, true)
  })
}
