/** Sending files: the bytes asked for, and a client that goes away in the middle. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, get } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { present } from '#base/assert.ts'
import { isFault } from '#base/fault.ts'
import { readBody } from '#base/http.ts'
import { sendFile } from './send-file.ts'

test('the part asked for arrives whole; a client that goes away ends the sending', async () => {
  const root = mkdtempSync(join(present(process.env['BERTH_TEST_ROOT'], 'BERTH_TEST_ROOT'), 'sf-'))
  const content = randomBytes(5_000_000)
  writeFileSync(join(root, 'f'), content)
  const sent: Promise<unknown>[] = []
  const server = createServer((req, res) => {
    const [start = 0, end = 0] = (req.url ?? '').slice(1).split('-').map(Number)
    sent.push(sendFile(join(root, 'f'), { start, end }, res).catch((error: unknown) => error))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  for (const [start, end] of [[0, 5_000_000], [1, 2], [524_287, 1_048_577], [7, 7]] as const) {
    const body = await new Promise<Buffer>((resolve, reject) => get({ port, path: `/${start}-${end}` }, (res) => void readBody(res, { maxBytes: 1e7 }).then(resolve, reject)))
    assert.deepEqual(body, content.subarray(start, end))
  }
  await new Promise<void>((resolve) => get({ port, path: '/0-5000000' }, (res) => res.once('data', () => { res.destroy(); resolve() })).on('error', (error) => error))
  assert.ok(isFault(await sent.at(-1), 'canceled'))
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  rmSync(root, { recursive: true })
})
