/** Datagrams to a unix socket, unix(7). */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { isFault } from '#base/fault.ts'
import { check, libc, O_CLOEXEC, O_NONBLOCK } from '../libc.ts'
import { sendDatagram } from './dial.ts'

test('a datagram arrives whole at a unix socket; that nobody listens is told, also without one', () => {
  const folder = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'dg-'))
  const path = join(folder, 's')
  assert.throws(() => sendDatagram({ path }), (error) => isFault(error, 'notFound'))
  const socket = check(libc.socket(1, 2 | O_CLOEXEC | O_NONBLOCK, 0), 'open')
  const address = Buffer.concat([Buffer.from([1, 0]), Buffer.from(`${path}\0`)])
  check(libc.bind(socket, address, address.length), 'bind')
  sendDatagram({ path })
  sendDatagram({ path, data: Buffer.from('one\ntwo') })
  sendDatagram({ path, data: Buffer.from('three') })
  const buffer = Buffer.alloc(100)
  const received = [0, 1].map(() => buffer.toString('utf8', 0, libc.recv(socket, buffer, buffer.length, 0)))
  assert.deepEqual(received, ['one\ntwo', 'three'])
  libc.close(socket)
  assert.throws(() => sendDatagram({ path }), (error) => isFault(error, 'unavailable'))
  rmSync(folder, { recursive: true })
})
