/** sendfile(2) on Node's connections: where it serves, and that no other connection ever gets the bytes. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { TLSSocket } from 'node:tls'
import { present } from '#base/assert.ts'
import { realSendfile } from './sendfile.ts'

let root = ''
let file: FileHandle
let server: Server
before(async () => {
  root = mkdtempSync(join(present(process.env['BERTH_TEST_ROOT'], 'BERTH_TEST_ROOT'), 'sendfile-'))
  writeFileSync(join(root, 'f'), 'abcdefgh')
  file = await open(join(root, 'f'))
  server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
})
after(async () => {
  await file.close()
  server.close()
  rmSync(root, { recursive: true })
})

/** Both ends of a new connection. */
async function pair(): Promise<{ readonly client: Socket; readonly socket: Socket }> {
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [socket] = (await once(server, 'connection')) as [Socket]
  return { client, socket }
}

function descriptorOf(socket: Socket): unknown {
  return Reflect.get(Reflect.get(socket, '_handle') as object, 'fd')
}

test('sends a part, and nothing beyond the end of the file', async () => {
  const { client, socket } = await pair()
  const target = present(realSendfile.open(socket, file.fd), 'target')
  assert.equal(await target.send(2, 3), 3)
  assert.equal(String((await once(client, 'data'))[0]), 'cde')
  assert.equal(await target.send(6, 100), 2)
  assert.equal(await target.send(8, 100), 0)
  target[Symbol.dispose]()
  socket.destroy()
  await once(client, 'close')
})

test('a socket that Node has closed: the connection that takes its number gets nothing', async () => {
  const first = await pair()
  const number = descriptorOf(first.socket)
  const target = present(realSendfile.open(first.socket, file.fd), 'target')
  first.socket.destroy()
  await once(first.socket, 'close')
  const others = [await pair(), await pair()]
  assert.ok(others.some(({ client, socket }) => [client, socket].some((end) => descriptorOf(end) === number)), 'the number is used again')
  await target.send(0, 8)
  target[Symbol.dispose]()
  for (const { client, socket } of others) {
    socket.end('mine')
    client.end('mine')
    const seen = await Promise.all([client.toArray(), socket.toArray()])
    assert.deepEqual(seen.map((chunks) => Buffer.concat(chunks as Buffer[]).toString()), ['mine', 'mine'])
  }
  first.client.destroy()
})

test('the other end has gone: nothing is taken, and nobody is killed by SIGPIPE', async () => {
  const { client, socket } = await pair()
  using target = present(realSendfile.open(socket, file.fd), 'target')
  socket.on('error', (error) => error)
  client.resetAndDestroy()
  await new Promise((resolve) => socket.once('close', resolve))
  assert.equal(await target.send(0, 8), 0)
})

test('no way onto what is closed, has an idle timeout, or is TLS', async () => {
  const { client, socket } = await pair()
  const tls = new TLSSocket(socket, { isServer: true })
  assert.equal(realSendfile.open(tls, file.fd), undefined)
  const timed = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', timeout: 60_000 })
  await once(timed, 'connect')
  assert.equal(realSendfile.open(timed, file.fd), undefined)
  timed.destroy()
  using target = present(realSendfile.open(client, file.fd), 'target')
  assert.equal(typeof target.send, 'function')
  client.destroy()
  assert.equal(realSendfile.open(client, file.fd), undefined)
  tls.destroy()
  socket.destroy()
})
