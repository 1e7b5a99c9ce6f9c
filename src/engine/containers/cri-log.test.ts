/** Reading CRI logs: records, tails, times, following to the end. */
import assert from 'node:assert/strict'
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import type { LogEntry, LogQuery } from '../contract/containers.ts'
import { parseCriRecord, parseTimeNs } from './cri-log.ts'
import { readLog } from './log-reader.ts'

let root: string
before(() => {
  root = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'log-'))
})
after(() => rmSync(root, { recursive: true }))

const all: LogQuery = { stdout: true, stderr: true, follow: false, signal: new AbortController().signal }

async function textOf(entries: AsyncIterable<LogEntry>): Promise<string> {
  let text = ''
  for await (const { data } of entries) text += data.toString()
  return text
}

function file(lines: readonly string[]): string {
  const path = join(root, `${Math.abs(lines.join('').length)}-${lines.length}.log`)
  writeFileSync(path, lines.join(''))
  return path
}

const line = (second: number, text: string, channel = 'stdout', tag = 'F'): string => `2026-11-23T05:13:${String(second).padStart(2, '0')}.123456789+00:00 ${channel} ${tag} ${text}\n`

test('a full line gets its line feed back, a part does not', async () => {
  assert.equal(await textOf(readLog(file([line(1, 'begin ', 'stdout', 'P'), line(1, 'end'), line(2, '')]), all)), 'begin end\n\n')
})

test('times keep their nanoseconds and honour their offset', () => {
  assert.equal(parseTimeNs('2026-11-23T07:13:01.000000001+02:00'), parseTimeNs('2026-11-23T05:13:01.000000001Z'))
  assert.equal((parseTimeNs('1970-01-01T00:00:01.5Z') ?? 0n), 1_500_000_000n)
  assert.equal(parseTimeNs('yesterday'), undefined)
})

test('tail counts whole lines from the end, whatever their parts', async () => {
  const path = file([line(1, 'one'), line(2, 'tw', 'stdout', 'P'), line(2, 'o'), line(3, 'three', 'stderr')])
  assert.equal(await textOf(readLog(path, { ...all, tail: 2 })), 'two\nthree\n')
  assert.equal(await textOf(readLog(path, { ...all, tail: 0 })), '')
  assert.equal(await textOf(readLog(path, { ...all, tail: 99 })), 'one\ntwo\nthree\n')
})

test('tail equals the end of the whole for any log, also across blocks', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 30_000 }), { maxLength: 12 }), fc.integer({ min: 1, max: 8 }), async (lengths, tail) => {
      const path = join(root, 'property.log')
      writeFileSync(path, lengths.map((length, index) => line(index, `${index}${'x'.repeat(length)}`)).join(''))
      const whole = (await textOf(readLog(path, all))).split('\n').slice(0, -1)
      assert.deepEqual((await textOf(readLog(path, { ...all, tail }))).split('\n').slice(0, -1), whole.slice(-tail))
    }),
    { numRuns: 40 },
  )
})

test('channels and times select', async () => {
  const path = file([line(1, 'a'), line(2, 'b', 'stderr'), line(3, 'c'), line(4, 'd')])
  assert.equal(await textOf(readLog(path, { ...all, stderr: false })), 'a\nc\nd\n')
  const at = (second: number): bigint => parseTimeNs(`2026-11-23T05:13:0${second}.123456789Z`) ?? 0n
  assert.equal(await textOf(readLog(path, { ...all, sinceNs: at(2), untilNs: at(3) })), 'b\nc\n')
})

test('a follower sees what is appended and ends with the container', async () => {
  const path = file([line(1, 'first')])
  const ended = Promise.withResolvers<void>()
  const reader = readLog(path, { ...all, follow: true }, ended.promise)
  assert.equal((await reader.next()).value?.data.toString(), 'first\n')
  const next = reader.next()
  appendFileSync(path, line(2, 'second'))
  assert.equal((await next).value?.data.toString(), 'second\n')
  appendFileSync(path, line(3, 'last'))
  ended.resolve()
  assert.equal((await reader.next()).value?.data.toString(), 'last\n')
  assert.equal((await reader.next()).done, true)
})

test('a missing file is an empty log, torn records are skipped', async () => {
  assert.equal(await textOf(readLog(join(root, 'absent'), all)), '')
  assert.equal(await textOf(readLog(file(['garbage\n', line(1, 'ok'), '2026']), all)), 'ok\n')
})

test('no bytes make the record parser throw', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => void parseCriRecord(Buffer.from(bytes))))
})
