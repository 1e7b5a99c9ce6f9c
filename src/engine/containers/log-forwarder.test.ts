/** What is sent of a log, over restarts of ours and while nobody listens. */
import assert from 'node:assert/strict'
import { appendFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { sleep, systemClock } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import { silentLogger } from '#base/log.ts'
import { LogForwarder } from './log-forwarder.ts'

test('a log is sent on from where the last run of ours stood, lines of one instant too, and to the end when the container ends', async () => {
  const folder = await mkdtemp(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'fw-'))
  const path = join(folder, 'container.log')
  const sent: string[] = []
  let away = false
  let refused = 0
  const sockets = {
    async sendDatagram(_path: string, data: Uint8Array | undefined): Promise<void> {
      if (away) {
        refused += 1
        throw new Fault('unavailable', 'nobody listens')
      }
      const line = /MESSAGE=(.*)\n/.exec(Buffer.from(data ?? []).toString())?.[1]
      if (line !== undefined) sent.push(line)
    },
  }
  const write = (...lines: readonly string[]): Promise<void> => appendFile(path, lines.map((line) => `2026-01-01T00:00:00.000000007Z stdout F ${line}\n`).join(''))
  const source = { id: 'a'.repeat(64), name: 'web', imageId: `sha256:${'b'.repeat(64)}`, imageName: 'bb:1', effective: { args: ['sh'], env: [], labels: {} }, hostname: 'h' }
  const ended = Promise.withResolvers<void>()
  const start = (): LogForwarder => {
    const forwarder = new LogForwarder({ clock: systemClock, log: silentLogger, sockets })
    forwarder.start({ id: 'x', spec: { driver: 'journald' }, source, path, ended: ended.promise })
    return forwarder
  }
  const until = async (count: number): Promise<void> => {
    while (sent.length < count) await sleep(systemClock, 2)
  }
  await write('one', 'two')
  const first = start()
  await until(2)
  await first.close()
  await write('three', 'four')
  const second = start()
  await until(4)
  away = true
  await write('five')
  while (refused === 0) await sleep(systemClock, 2)
  await second.close()
  away = false
  const third = start()
  await write('six')
  ended.resolve()
  await third.finish('x')
  assert.deepEqual(sent, ['one', 'two', 'three', 'four', 'five', 'six'])
  await rm(folder, { recursive: true })
})
