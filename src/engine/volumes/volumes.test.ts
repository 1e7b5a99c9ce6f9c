/** Local volumes: catalogue, references, options, restart, and paths that try to leave an image. */
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { systemClock } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import { silentLogger } from '#base/log.ts'
import { systemRandom } from '#base/random.ts'
import type { MountRequest, Mounts } from '#linux/contract/mounts.ts'
import type { Processes } from '#linux/contract/processes.ts'
import { resolveInside } from './confine.ts'
import { volumeMount } from './options.ts'
import { openVolumes } from './volumes.ts'

const folder = await mkdtemp(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'vol-'))
after(() => rm(folder, { recursive: true }))

/** A mount table in memory. */
function recordingMounts(): Mounts & { readonly mounted: MountRequest[] } {
  const mounted: MountRequest[] = []
  return {
    mounted,
    mount: async (request) => void mounted.push(request),
    bindInside: async ({ root, path, target }) => void mounted.push({ source: `${root}/${path}`, target }),
    bindShifted: async ({ source, target }) => void mounted.push({ source, target }),
    overlay: async () => undefined,
    unmount: async (target) => void mounted.splice(mounted.findIndex((each) => each.target === target), 1),
    table: async (under) =>
      mounted.filter(({ target }) => target === under).map(({ source, target, type }, id) => ({ id, parentId: 0, root: '/', target, type: type ?? '', source, options: [], superOptions: [], propagation: 'private' as const })),
  }
}

const noProcesses: Processes = {
  run: () => Promise.reject(new Error('no process is expected')),
  start: () => Promise.reject(new Error('no process is expected')),
  kill: () => Promise.reject(new Error('no process is expected')),
  watchExit: () => Promise.reject(new Error('no process is expected')),
  sealExecutable: () => Promise.reject(new Error('no process is expected')),
  identify: async () => undefined,
}

const open = (name: string, mounts: Mounts = recordingMounts()) =>
  openVolumes({ root: join(folder, name), mounts, processes: noProcesses, clock: systemClock, random: systemRandom, log: silentLogger })

test('a volume is made once, found again after a restart, and removed with its data', async () => {
  const volumes = await open('a')
  const made = await volumes.create({ name: 'data', labels: { a: 'b' } })
  assert.deepEqual(made.named, ['labels'])
  assert.deepEqual(await volumes.create({ name: 'data' }), made)
  await writeFile(join(made.mountpoint, 'x'), 'hello')
  const again = await open('a')
  assert.deepEqual(await again.get('data'), made)
  assert.deepEqual(await again.usage('data'), { sizeBytes: 5, references: 0 })
  await again.remove('data')
  assert.deepEqual(await readdir(join(folder, 'a')), [])
  await assert.rejects(again.get('data'), (error) => isFault(error, 'notFound') && error.message === 'get data: no such volume')
  await again.remove('data', { force: true })
})

test('a volume in use cannot be removed, and the fault names who uses it', async () => {
  const volumes = await open('b')
  const { name, anonymous } = await volumes.create({})
  assert.match(name, /^[0-9a-f]{64}$/)
  assert.equal(anonymous, true)
  await volumes.acquire(name, 'container-1')
  await assert.rejects(volumes.remove(name), (error) => isFault(error, 'conflict') && error.message.endsWith('volume is in use - [container-1]'))
  assert.deepEqual(volumes.users(name), ['container-1'])
  await volumes.release(name, 'container-1')
  await volumes.remove(name)
})

test('names and drivers that mean nothing are refused', async () => {
  const volumes = await open('c')
  for (const name of ['../x', 'a/b', '.hidden', 'a']) await assert.rejects(volumes.create({ name }), (error) => isFault(error, 'invalidArgument'), name)
  await assert.rejects(volumes.create({ name: 'ok', driver: 'nfs' }), (error) => isFault(error, 'notFound'))
  await assert.rejects(volumes.create({ name: 'ok', options: { colour: 'red' } }), /invalid option: "colour"/)
  assert.deepEqual(await readdir(join(folder, 'c')), [])
})

test('a volume with mount options is mounted for its first user and unmounted after its last', async () => {
  const mounts = recordingMounts()
  const volumes = await open('d', mounts)
  const { mountpoint } = await volumes.create({ name: 'memory', options: { type: 'tmpfs', device: 'tmpfs', o: 'size=1m,noexec' } })
  assert.equal(await volumes.mount('memory', 'one'), mountpoint)
  await volumes.mount('memory', 'two')
  assert.deepEqual(mounts.mounted, [{ source: 'tmpfs', target: mountpoint, type: 'tmpfs', flags: ['noexec'], data: 'size=1m' }])
  await volumes.unmount('memory', 'one')
  assert.equal(mounts.mounted.length, 1)
  await volumes.unmount('memory', 'two')
  assert.equal(mounts.mounted.length, 0)
  assert.deepEqual(volumeMount({ type: 'none', device: '/srv', o: 'bind' }, '/t'), { source: '/srv', target: '/t', flags: ['bind'] })
})

test('what a crash left half made is gone after the next start', async () => {
  await mkdir(join(folder, 'e', '.new-x', '_data'), { recursive: true })
  await mkdir(join(folder, 'e', '.removed-y', '_data'), { recursive: true })
  assert.deepEqual(await (await open('e')).list(), [])
  assert.deepEqual(await readdir(join(folder, 'e')), [])
})

test('a damaged volume keeps nobody else from being found, and its data stays', async () => {
  const volumes = await open('f')
  const { mountpoint } = await volumes.create({ name: 'torn' })
  await volumes.create({ name: 'whole' })
  await writeFile(join(mountpoint, '..', 'volume.json'), '{"formatVersion":1,"vol')
  assert.deepEqual((await (await open('f')).list()).map(({ name }) => name), ['whole'])
  assert.ok((await stat(mountpoint)).isDirectory())
  await writeFile(join(mountpoint, '..', 'volume.json'), '{"formatVersion":99}')
  await assert.rejects(open('f'), (error) => isFault(error, 'preconditionFailed'))
})

test('a path inside an image never leads out of it', async () => {
  const root = join(folder, 'root')
  await mkdir(join(root, 'real/deep'), { recursive: true })
  await symlink('/real', join(root, 'absolute'))
  await symlink('../../../../../../real', join(root, 'upward'))
  await symlink('loop', join(root, 'loop'))
  assert.equal(await resolveInside(root, '/absolute/deep'), join(root, 'real/deep'))
  assert.equal(await resolveInside(root, '/upward/../real/./deep/'), join(root, 'real/deep'))
  assert.equal(await resolveInside(root, '../../..'), root)
  assert.equal(await resolveInside(root, '/missing/x'), undefined)
  await assert.rejects(resolveInside(root, '/loop'), (error) => isFault(error, 'invalidArgument'))
})
