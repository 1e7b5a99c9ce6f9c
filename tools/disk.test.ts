/** What `system df` says is what is on the disk, and what is pruned is gone from it: `du` and the API of a whole instance, side by side. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { json } from 'node:stream/consumers'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type BerthInstance, createInstance } from './instance.ts'

const part = 4 << 20
/** Records, folders, and the last block of each file. */
const bookkeeping = 512 * 1024

describe('the disk', () => {
  let instance: BerthInstance & Disposable
  before(() => {
    instance = createInstance()
    instance.up()
  })
  after(() => instance[Symbol.dispose]())

  function call(method: string, path: string): Promise<unknown> {
    return new Promise((resolve, reject) => {
      request({ socketPath: instance.dockerHost.slice('unix://'.length), method, path: `/v1.43${path}` }, (answer) => {
        json(answer).then((body) => (answer.statusCode === 200 ? resolve(body) : reject(new Error(`${method} ${path}: ${answer.statusCode} ${JSON.stringify(body)}`))), reject)
      }).once('error', reject).end()
    })
  }

  /** Blocks of the engine's state, each inode once; what is mounted there is somebody else's. */
  function usedBytes(): number {
    const { status, stdout, stderr } = spawnSync('du', ['--summarize', '--one-file-system', '--block-size=1', join(instance.root, 'state/engine'), join(instance.root, 'state/blobs')], { encoding: 'utf8' })
    assert.equal(status, 0, stderr)
    return stdout.trim().split('\n').reduce((sum, line) => sum + Number.parseInt(line, 10), 0)
  }

  function must(...args: readonly string[]): void {
    const { status, stdout, stderr } = instance.berth(args)
    assert.equal(status, 0, `berth ${args.join(' ')}: ${stdout}${stderr}`)
  }

  async function pruneAll(): Promise<void> {
    await call('POST', '/containers/prune')
    await call('POST', `/images/prune?filters=${encodeURIComponent('{"dangling":["false"]}')}`)
    await call('POST', `/volumes/prune?filters=${encodeURIComponent('{"all":["true"]}')}`)
    await call('POST', '/build/prune?all=true')
  }

  test('is told of exactly, and given back whole', { timeout: 60_000 }, async () => {
    await pruneAll()
    const empty = usedBytes()
    const folder = join(instance.root, 'context')
    mkdirSync(folder)
    writeFileSync(join(folder, 'busybox'), readFileSync('/bin/busybox'), { mode: 0o755 })
    writeFileSync(join(folder, 'file'), randomBytes(part))
    writeFileSync(join(folder, 'Dockerfile'), 'FROM scratch\nCOPY busybox /bin/sh\nCOPY busybox /bin/head\nCOPY file /file\nRUN --mount=type=cache,target=/kept head -c 4194304 /dev/urandom > /kept/file\n')
    must('build', '-t', 'disk:1', folder)
    must('run', '--name', 'writer', '-v', 'volume:/v', 'disk:1', 'sh', '-c', 'head -c 4194304 /dev/urandom > /mine; head -c 4194304 /dev/urandom > /v/file')
    const told = await call('GET', '/system/df') as {
      readonly LayersSize: number
      readonly Images: readonly { readonly Size: number; readonly RepoTags: readonly string[] | null }[]
      readonly Containers: readonly { readonly SizeRw: number }[]
      readonly Volumes: readonly { readonly UsageData: { readonly Size: number } }[]
      readonly BuildCache: readonly { readonly Type: string; readonly Size: number }[]
    }
    const layers = part + 2 * readFileSync('/bin/busybox').length
    assert.deepEqual(told.Images.map(({ Size, RepoTags }) => [Size, RepoTags]), [[layers, ['disk:1']]])
    assert.equal(told.LayersSize, layers)
    assert.deepEqual(told.Containers.map(({ SizeRw }) => SizeRw), [part])
    assert.deepEqual(told.Volumes.map(({ UsageData }) => UsageData.Size), [part])
    assert.deepEqual(told.BuildCache.filter(({ Type }) => Type === 'exec.cachemount').map(({ Size }) => Size), [part])
    // A layer made here stands there as a folder, which is mounted, and as a tar, which can be pushed.
    const expected = empty + 2 * layers + 3 * part
    const used = usedBytes()
    assert.ok(Math.abs(used - expected) < bookkeeping, `${used} bytes are used, not about ${expected}`)
    must('rm', 'writer')
    // What is younger than a minute is spared by every collection: somebody may be about to name it.
    const { status } = spawnSync('find', [join(instance.root, 'state/blobs'), '-type', 'f', '-exec', 'touch', '--date=2 minutes ago', '{}', '+'])
    assert.equal(status, 0)
    await pruneAll()
    const left = usedBytes() - empty
    assert.ok(left < bookkeeping, `${left} bytes are left`)
  })
})
