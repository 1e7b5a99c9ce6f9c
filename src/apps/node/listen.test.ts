/** Listening ends although connections were taken over, of which HTTP's server no longer knows. */
import assert from 'node:assert/strict'
import { mkdtempDisposableSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { present } from '#base/assert.ts'
import { listenUnix } from './listen.ts'

test('the end of listening closes connections that were upgraded, also those that the client ended on its side', async () => {
  using folder = mkdtempDisposableSync(join(present(process.env['BERTH_TEST_ROOT'], 'BERTH_TEST_ROOT'), 'li-'))
  const path = join(folder.path, 's')
  const upgraded: (() => void)[] = []
  const listening = await listenUnix(path, {
    request: (_request, response) => response.end(),
    upgrade: (_request, socket) => {
      socket.on('error', () => undefined).resume()
      socket.write('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n')
      upgraded.shift()?.()
    },
    clientError: (_error, socket) => socket.destroy(),
    server: {},
  })
  const clients = await Promise.all([false, true].map(async (halfClosed) => {
    const client = connect({ path, allowHalfOpen: true })
    await new Promise<void>((taken) => {
      upgraded.push(taken)
      client.write('POST /session HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n')
    })
    client.on('error', () => undefined).resume()
    if (halfClosed) client.end()
    return { ended: new Promise<void>((closed) => client.once('end', () => (client.destroy(), closed()))) }
  }))
  await listening[Symbol.asyncDispose]()
  await Promise.all(clients.map(({ ended }) => ended))
  assert.equal(listening.server.listening, false)
})
