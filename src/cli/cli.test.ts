/** The command line's pure pieces: what it parses and what it prints. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import { test } from 'node:test'
import { humanDuration, humanSize } from '#base/human.ts'
import { collect } from './docker/connection.ts'
import { packContext } from './docker/context.ts'
import { demultiplex } from './docker/streams.ts'
import { parseMemory, parsePublish } from './docker/run.ts'
import { ExitError } from './exit.ts'
import { parseTargets, pathOf, type Resource } from './kube/resources.ts'
import { renderBar } from './progress.ts'
import { renderTable } from './table.ts'

test('sizes and ages read as docker prints them', () => {
  assert.equal(humanSize(1_982_256), '1.98MB')
  assert.equal(humanSize(999), '999B')
  assert.equal(humanDuration(500), 'Less than a second')
  assert.equal(humanDuration(65_000), 'About a minute')
  assert.equal(humanDuration(3 * 3_600_000), '3 hours')
})

test('columns are as wide as their widest cell', () => {
  assert.equal(renderTable([['NAME', 'READY'], ['a-long-name', '1/1']]), 'NAME          READY\na-long-name   1/1\n')
})

test('a bar fills with the share that is done', () => {
  assert.match(renderBar(50, 100), /^\[={14}> {15}\] 50B\/100B$/)
  assert.match(renderBar(100, 100), /^\[={30}\]/)
})

test('published ports are read in all of their forms, and refused otherwise', () => {
  assert.deepEqual(parsePublish('8080:80'), { container: '80/tcp', hostIp: '', hostPort: '8080' })
  assert.deepEqual(parsePublish('127.0.0.1:53:53/udp'), { container: '53/udp', hostIp: '127.0.0.1', hostPort: '53' })
  assert.deepEqual(parsePublish('80'), { container: '80/tcp', hostIp: '', hostPort: '' })
  assert.throws(() => parsePublish('eighty'), ExitError)
})

test('memory sizes have binary units', () => {
  assert.equal(parseMemory('512m'), 512 * 2 ** 20)
  assert.equal(parseMemory('1.5g'), 1.5 * 2 ** 30)
  assert.throws(() => parseMemory('much'), ExitError)
})

test('frames of stdout and stderr are told apart, however they are cut', async () => {
  const frame = (stream: number, text: string): Buffer => {
    const header = Buffer.alloc(8)
    header[0] = stream
    header.writeUInt32BE(text.length, 4)
    return Buffer.concat([header, Buffer.from(text)])
  }
  const all = Buffer.concat([frame(1, 'out'), frame(2, 'err'), frame(1, 'more')])
  for (let cut = 1; cut < all.length; cut += 1) {
    const seen = { out: '', err: '' }
    const sink = (key: 'out' | 'err'): Writable => new Writable({ write: (chunk, _encoding, done) => ((seen[key] += String(chunk)), done()) })
    await demultiplex(Readable.from([all.subarray(0, cut), all.subarray(cut)]), sink('out'), sink('err'))
    assert.deepEqual(seen, { out: 'outmore', err: 'err' })
  }
})

const pods: Resource = { groupVersion: 'v1', kind: 'Pod', plural: 'pods', singular: 'pod', shortNames: ['po'], namespaced: true }
const deployments: Resource = { groupVersion: 'apps/v1', kind: 'Deployment', plural: 'deployments', singular: 'deployment', shortNames: ['deploy'], namespaced: true }

test('words mean resources by plural, singular, short name and group', () => {
  const all = [pods, deployments]
  assert.deepEqual(parseTargets(all, ['po', 'a', 'b']), [{ resource: pods, names: ['a', 'b'] }])
  assert.deepEqual(parseTargets(all, ['pod/a', 'deploy/b']).map(({ resource }) => resource.kind), ['Pod', 'Deployment'])
  assert.deepEqual(parseTargets(all, ['pods,deployments.apps']).map(({ names }) => names), [[], []])
  assert.throws(() => parseTargets(all, ['unicorns']), /doesn't have a resource type "unicorns"/)
  assert.equal(pathOf(deployments, 'web', 'a/b'), '/apis/apps/v1/namespaces/web/deployments/a%2Fb')
  assert.equal(pathOf(pods, undefined), '/api/v1/pods')
})

test('a build context holds what .dockerignore leaves in, exceptions included, and always the Dockerfile', async () => {
  const root = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'cx-'))
  try {
    mkdirSync(join(root, 'docs'))
    for (const name of ['Dockerfile', 'main.txt', 'docs/secret', 'docs/open']) writeFileSync(join(root, name), name)
    symlinkSync('main.txt', join(root, 'link'))
    const archive = await collect(packContext(root, { ignore: 'docs\n!docs/open\nDockerfile\n', keep: ['Dockerfile'], extra: [{ path: 'more', content: Buffer.from('x') }] }))
    const listed = spawnSync('tar', ['-tf', '-'], { input: archive, encoding: 'utf8' })
    assert.deepEqual(listed.stdout.trim().split('\n'), ['Dockerfile', 'docs/open', 'link', 'main.txt', 'more'])
  } finally {
    rmSync(root, { recursive: true })
  }
})
