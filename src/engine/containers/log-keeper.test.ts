/** Rotation over files of a real file system, conmon played by the test: bounds, compression, and readers that live through it. */
import assert from 'node:assert/strict'
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { silentLogger } from '#base/log.ts'
import { virtualClock } from '#sim/clock.ts'
import type { LogEntry, LogQuery } from '../contract/containers.ts'
import { LogKeeper, nextLookMs } from './log-keeper.ts'
import { readLog } from './log-reader.ts'

let root: string
before(() => {
  root = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'keep-'))
})
after(() => rmSync(root, { recursive: true }))

const all: LogQuery = { stdout: true, stderr: true, follow: false, signal: new AbortController().signal }

async function numbersOf(entries: AsyncIterable<LogEntry>): Promise<number[]> {
  const numbers: number[] = []
  for await (const { data } of entries) numbers.push(Number(data.toString()))
  return numbers
}

/** A log whose records are numbers, and a runtime that does with it what conmon does. */
function world(name: string) {
  const folder = join(root, name)
  mkdirSync(folder)
  const path = join(folder, 'container.log')
  writeFileSync(path, '')
  const clock = virtualClock()
  let written = 0
  let reopened = 0
  const reopenLog = async (): Promise<void> => {
    reopened += 1
    writeFileSync(`${path}.tmp`, '')
    renameSync(`${path}.tmp`, path)
  }
  const runtime = {
    async rotateLog(_id: string, rotated: string): Promise<void> {
      renameSync(path, rotated)
      await reopenLog()
    },
    reopenLog,
  }
  const keeper = new LogKeeper({ clock, runtime, log: silentLogger })
  return {
    path, clock, keeper, runtime,
    reopened: () => reopened,
    /** 47 bytes each. */
    write(lines: number): void {
      let text = ''
      for (let line = 0; line < lines; line += 1) text += `2026-11-23T05:13:01.123456789+00:00 stdout F ${String((written += 1)).padStart(4, '0')}\n`
      appendFileSync(path, text)
    },
    names: () => readdirSync(folder).sort(),
    /** Lets time pass until it is as wanted. */
    async until(wanted: () => boolean): Promise<void> {
      while (!wanted()) {
        await clock.advance(10)
        // Files are real: their time is not ours.
        await stat(folder)
      }
    },
  }
}

const bounds = { maxBytes: 500, maxFiles: 3, compress: false }
const upTo = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, index) => from + index)

test('a log that reaches its bound is moved aside, the oldest goes, and readers see what is left in order', async () => {
  const w = world('bound')
  w.keeper.start('c', w.path, bounds)
  for (let round = 1; round <= 4; round += 1) {
    w.write(12)
    await w.until(() => existsSync(`${w.path}.${round}`))
  }
  w.write(3)
  await w.until(() => w.names().length === 3)
  assert.deepEqual(w.names(), ['container.log', 'container.log.3', 'container.log.4'])
  assert.deepEqual(await numbersOf(readLog(w.path, all)), upTo(25, 51))
  assert.deepEqual(await numbersOf(readLog(w.path, { ...all, tail: 5 })), upTo(47, 51))
  assert.deepEqual(await numbersOf(readLog(w.path, { ...all, tail: 20 })), upTo(32, 51))
  await w.keeper.stop('c')
  await w.keeper.close()
})

test('a follower reads on in the next files, however many came between, and ends with the container', async () => {
  const w = world('follow')
  w.write(2)
  const ended = Promise.withResolvers<void>()
  const reader = readLog(w.path, { ...all, follow: true }, ended.promise)
  assert.equal(Number((await reader.next()).value?.data.toString()), 1)
  for (let round = 1; round <= 3; round += 1) {
    await w.runtime.rotateLog('c', `${w.path}.${round}`)
    w.write(4)
  }
  const rest = numbersOf(reader)
  await w.until(() => true)
  await w.runtime.rotateLog('c', `${w.path}.4`)
  w.write(1)
  ended.resolve()
  assert.deepEqual(await rest, upTo(2, 15))
})

test('a follower waits out the instant in which there is no file, and goes on when conmon begins the log anew by itself', async () => {
  const w = world('anew')
  w.write(1)
  const ended = Promise.withResolvers<void>()
  const reader = readLog(w.path, { ...all, follow: true }, ended.promise)
  const next = async (): Promise<number> => Number((await reader.next()).value?.data.toString())
  assert.equal(await next(), 1)
  const second = next()
  renameSync(w.path, `${w.path}.1`)
  await w.clock.settle()
  await w.runtime.reopenLog()
  w.write(1)
  assert.equal(await second, 2)
  const third = next()
  await w.runtime.reopenLog()
  w.write(1)
  assert.equal(await third, 3)
  ended.resolve()
  assert.equal((await reader.next()).done, true)
})

test('rotated files are compressed where that is asked for, and read all the same', async () => {
  const w = world('compress')
  w.keeper.start('c', w.path, { ...bounds, compress: true })
  w.write(12)
  await w.until(() => existsSync(`${w.path}.1.gz`) && !existsSync(`${w.path}.1`))
  w.write(2)
  assert.equal(gunzipSync(readFileSync(`${w.path}.1.gz`)).toString().split('\n').length, 13)
  assert.deepEqual(await numbersOf(readLog(w.path, all)), upTo(1, 14))
  assert.deepEqual(await numbersOf(readLog(w.path, { ...all, tail: 4 })), upTo(11, 14))
  await w.keeper.close()
})

test('what was written while we were away is rotated when we are back, and conmon is told when it never was', async () => {
  const w = world('away')
  w.write(100)
  w.keeper.start('c', w.path, bounds, { adopted: true })
  await w.until(() => existsSync(`${w.path}.1`))
  await w.keeper.stop('c')
  assert.equal(w.reopened(), 1)
  // Killed between moving the log aside and telling conmon.
  renameSync(w.path, `${w.path}.2`)
  w.keeper.start('c', w.path, bounds, { adopted: true })
  await w.until(() => existsSync(w.path))
  assert.equal(w.reopened(), 2)
  // What grew without us takes the place of several.
  await w.until(() => w.names().length === 2)
  assert.deepEqual(w.names(), ['container.log', 'container.log.2'])
  await w.keeper.close()
})

test('after the end a log is brought in its bounds too', async () => {
  const w = world('end')
  w.write(12)
  await w.keeper.settle(w.path, bounds)
  assert.deepEqual(w.names(), ['container.log.1'])
  await w.keeper.settle(w.path, bounds)
  assert.deepEqual(await numbersOf(readLog(w.path, all)), upTo(1, 12))
  await w.keeper.close()
})

test('nothing is looked at while nothing is written, and the first write after a silence is noticed', async () => {
  const w = world('idle')
  w.keeper.start('c', w.path, bounds)
  await w.until(() => w.clock.pending === 0)
  w.write(12)
  await w.until(() => existsSync(`${w.path}.1`))
  await w.until(() => w.clock.pending === 0)
  assert.ok(statSync(w.path).size === 0)
  await w.keeper.close()
})

test('a log that grows is looked at halfway to its bound, within a tenth of a second and a second', () => {
  assert.equal(nextLookMs({ bytes: 1000, inMs: 100 }, 10_000), 500)
  assert.equal(nextLookMs({ bytes: 1000, inMs: 100 }, 100), 100)
  assert.equal(nextLookMs({ bytes: 1, inMs: 100 }, 10_000_000), 1000)
  assert.equal(nextLookMs({ bytes: -1, inMs: 100 }, 1), 1000)
})
