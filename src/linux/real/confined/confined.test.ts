/** Confined jobs: nothing leads out of the root, bytes stream both ways, and the rest of the process sees its own root. */
import assert from 'node:assert/strict'
import { closeSync, existsSync, fstatSync, ftruncateSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { after, before, test } from 'node:test'
import { type Clock, sleep, systemClock } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import type { FileFollower, FileInput } from '../../contract/confined.ts'
import type { Kernel } from '../../contract/kernel.ts'
import { openKernel } from '../kernel.ts'
import { ConfinedWorkers } from './confinedJobs.ts'
import type { EscapeArgs } from './escape.job.ts'

interface Answer {
  readonly names: string[]
  readonly bytes: number
  readonly inode: number
}

const job = new URL('./escape.job.ts', import.meta.url)
let kernel: Kernel & AsyncDisposable
let root: string
let jail: string

before(async () => {
  root = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'c-'))
  jail = join(root, 'jail')
  mkdirSync(join(jail, 'etc'), { recursive: true })
  mkdirSync(join(root, 'etc'))
  kernel = await openKernel()
})

after(async () => {
  await kernel[Symbol.asyncDispose]()
  rmSync(root, { recursive: true })
})

test('absolute and relative symlinks stay inside the root', async () => {
  symlinkSync('/etc', join(jail, 'absolute'))
  symlinkSync('../../../../etc', join(jail, 'relative'))
  await kernel.confined.run<EscapeArgs, Answer>(jail, job, { write: '/absolute/berth-a' })
  const answer = await kernel.confined.run<EscapeArgs, Answer>(jail, job, { write: '/relative/berth-b' })
  assert.deepEqual(answer.names, ['absolute', 'etc', 'relative'])
  assert.equal(readFileSync(join(jail, 'etc/berth-a'), 'utf8'), 'inside')
  assert.equal(readFileSync(join(jail, 'etc/berth-b'), 'utf8'), 'inside')
  assert.equal(existsSync('/etc/berth-a'), false)
})

test('while a job runs, sync and async fs of the main thread see their own root, and the worker serves the next job from another root', async () => {
  const input = new Readable({ read: () => undefined })
  const running = kernel.confined.start<EscapeArgs, Answer>(jail, job, {}, { input })
  input.push(Buffer.from('abc'))
  for await (const chunk of running.output) {
    assert.equal(String(chunk), 'abc')
    break
  }
  const own = statSync('/').ino
  for (let count = 0; count < 16; count += 1) assert.equal((await stat('/')).ino, own)
  input.push(null)
  const answer = await running.result
  assert.notEqual(answer.inode, own)
  const other = await kernel.confined.run<EscapeArgs, Answer>(root, job, {})
  assert.ok(other.names.includes('jail'))
})

test('20 MB stream in and out with backpressure', async () => {
  const chunk = Buffer.alloc(64 * 1024, 7)
  const input = Readable.from((function* () {
    for (let count = 0; count < 320; count += 1) yield chunk
  })())
  const running = kernel.confined.start<EscapeArgs, Answer>(jail, job, {}, { input })
  let bytes = 0
  for await (const out of running.output) bytes += out.length
  assert.equal(bytes, 320 * chunk.length)
  assert.equal((await running.result).bytes, bytes)
})

test('chunks that are nobody else\'s are handed over, others stay as they are', async () => {
  for (const inputIsOurs of [true, false]) {
    const chunks = Array.from({ length: 20 }, (_, index) => new Uint8Array(70_000).fill(index))
    const answer = await kernel.confined.run<EscapeArgs, Answer>(jail, job, {}, { input: Readable.from(chunks), inputIsOurs })
    assert.equal(answer.bytes, 1_400_000)
    assert.ok(chunks.every(({ length }) => length === (inputIsOurs ? 0 : 70_000)))
  }
})

test('a file is read behind its writer, to where it goes, and its failure is the job’s', async () => {
  const path = join(root, 'grows')
  const descriptor = openSync(path, 'w+')
  const followed = (tell: (reader: FileFollower) => void): FileInput => ({ descriptor, follow: (reader) => (tell(reader), () => undefined) })
  const told = Promise.withResolvers<FileFollower>()
  const running = kernel.confined.start<EscapeArgs, Answer>(jail, job, {}, { input: followed(told.resolve) })
  const output = running.output[Symbol.asyncIterator]()
  const reader = await told.promise
  for (const text of ['abc', 'defg']) {
    writeSync(descriptor, `${text}not yet`, fstatSync(descriptor).size)
    ftruncateSync(descriptor, fstatSync(descriptor).size - 'not yet'.length)
    reader.grown(fstatSync(descriptor).size)
    assert.equal(String((await output.next()).value), text)
  }
  reader.ended()
  assert.equal((await output.next()).done, true)
  assert.equal((await running.result).bytes, 7)
  await assert.rejects(kernel.confined.run(jail, job, {}, { input: followed((other) => other.failed(new Error('the sender went away'))) }), /the sender went away/)
  await assert.rejects(kernel.confined.run(jail, job, {}, { input: followed((other) => other.grown(8)) }), (error) => isFault(error, 'dataLoss'))
  closeSync(descriptor)
})

test('a fault of the job, of its input, of its root and an abort reach the caller as what they are', async () => {
  const { confined } = kernel
  await assert.rejects(confined.run(jail, job, { fail: true }), (error) => isFault(error, 'unprocessable') && error.details['why'] === 'test')
  await assert.rejects(confined.run(join(root, 'none'), job, {}), (error) => isFault(error, 'notFound'))
  const broken = new Readable({ read() { this.destroy(new Error('the network fell silent')) } })
  await assert.rejects(confined.run(jail, job, {}, { input: broken }), /the network fell silent/)
  const controller = new AbortController()
  const endless = new Readable({ read: () => undefined })
  const running = confined.run(jail, job, {}, { input: endless, signal: controller.signal })
  controller.abort()
  await assert.rejects(running, (error) => isFault(error, 'canceled'))
})

test('jobs whose other end has fallen silent hold up nobody', async () => {
  const over = new AbortController()
  const silent = Array.from({ length: 6 }, () => kernel.confined.start<EscapeArgs, Answer>(jail, job, {}, { signal: over.signal, input: new Readable({ read() { this.push(Buffer.alloc(65536)) } }) }))
  const mute = Array.from({ length: 6 }, () => new Readable({ read: () => undefined }))
  const waiting = mute.map((input) => kernel.confined.run<EscapeArgs, Answer>(jail, job, {}, { input }))
  assert.ok((await kernel.confined.run<EscapeArgs, Answer>(jail, job, {})).names.length > 0)
  assert.equal((await kernel.confined.run<EscapeArgs, Answer>(jail, job, {}, { input: Readable.from([Buffer.from('abc')]) })).bytes, 3)
  for (const input of mute) input.push(null)
  await Promise.all(waiting)
  const ends = silent.map(({ output, result }) => {
    output.on('error', () => output.destroy())
    return assert.rejects(result, (error) => isFault(error, 'canceled'))
  })
  over.abort()
  await Promise.all(ends)
})

test('a worker that waited for a job in vain ends, and the next job gets another', async () => {
  const timers = new Set<() => void>()
  const clock: Clock = {
    ...systemClock,
    after(_delayMs, fire) {
      timers.add(fire)
      const cancel = (): void => void timers.delete(fire)
      return { cancel, [Symbol.dispose]: cancel }
    },
  }
  const threads = (): number => readdirSync('/proc/self/task').length
  await using workers = new ConfinedWorkers({ alone: 1, streaming: 1 }, clock)
  await workers.run<EscapeArgs, Answer>(jail, job, {})
  const before = threads()
  for (const fire of [...timers]) fire()
  assert.equal(timers.size, 0)
  while (threads() >= before) await sleep(systemClock, 5)
  await workers.run<EscapeArgs, Answer>(jail, job, {})
})
