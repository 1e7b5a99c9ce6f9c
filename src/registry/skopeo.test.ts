/** skopeo as the judge: images go into the registry and come out of it as the same images. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { hashSync } from 'bcryptjs'
import { present } from '#base/assert.ts'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/log.ts'
import { systemRandom } from '#base/random.ts'
import { openFileBlobs } from '#oci/blobs/file-system.ts'
import { digestOf } from '#oci/digest.ts'
import { sampleTar } from '#oci/layer/archive-samples.ts'
import { openRegistry } from './registry.ts'
import { openFileStorage } from './storage/file-storage.ts'

const isInstalled = spawnSync('skopeo', ['--version']).status === 0

async function skopeo(...args: string[]): Promise<{ readonly status: number | null; readonly text: string }> {
  const child = spawn('skopeo', args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (part: string) => (text += part))
  const status = await new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve))
  return { status, text }
}

test('skopeo copies images in, out and across, logs in, lists and deletes', { skip: !isInstalled && 'skopeo is not installed' }, async () => {
  const root = mkdtempSync(join(present(process.env['BERTH_TEST_ROOT'], 'BERTH_TEST_ROOT'), 'sk-'))
  await using stack = new AsyncDisposableStack()
  stack.defer(() => rmSync(root, { recursive: true }))
  const registry = stack.use(await openRegistry({ storage: stack.use(await openFileStorage({ root: join(root, 'r'), blobs: await openFileBlobs(join(root, 'b')), clock: systemClock, random: systemRandom })), htpasswd: `joe:${hashSync('pw', 4)}`, clock: systemClock, random: systemRandom, logger: silentLogger }))
  const server = createServer((req, res) => void registry.handle(req, res))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  stack.defer(() => server.closeAllConnections())
  stack.defer(() => void server.close())
  const host = `docker://127.0.0.1:${(server.address() as AddressInfo).port}`

  const layer = sampleTar([{ path: 'hello', content: 'world'.repeat(1000) }])
  const config = JSON.stringify({ architecture: 'amd64', os: 'linux', config: {}, rootfs: { type: 'layers', diff_ids: [digestOf(layer)] }, history: [{ created_by: 'test' }] })
  const archive = join(root, 'image.tar')
  writeFileSync(archive, sampleTar([{ path: 'c.json', content: config }, { path: 'l/layer.tar', content: layer }, { path: 'manifest.json', content: JSON.stringify([{ Config: 'c.json', RepoTags: ['x:1'], Layers: ['l/layer.tar'] }]) }]))

  const refused = await skopeo('copy', '--dest-tls-verify=false', `docker-archive:${archive}`, `${host}/team/app:1`)
  assert.notEqual(refused.status, 0)
  assert.match(refused.text, /unauthorized|needs a login/)
  const login = ['--dest-tls-verify=false', '--dest-creds', 'joe:pw']
  for (const args of [
    ['copy', ...login, `docker-archive:${archive}`, `${host}/team/app:1`],
    ['copy', '--src-tls-verify=false', `${host}/team/app:1`, `oci:${join(root, 'layout')}:x`],
    ['copy', ...login, '--format', 'oci', `oci:${join(root, 'layout')}:x`, `${host}/oci/app:1`],
    ['copy', '--src-tls-verify=false', ...login, `${host}/team/app:1`, `${host}/across/app:2`],
    ['copy', '--src-tls-verify=false', `${host}/oci/app:1`, `docker-archive:${join(root, 'back.tar')}:x:1`],
  ]) {
    const { status, text } = await skopeo(...args)
    assert.equal(status, 0, text)
  }
  const inspected = await skopeo('inspect', '--tls-verify=false', '--config', `${host}/oci/app:1`)
  assert.deepEqual(JSON.parse(inspected.text).rootfs.diff_ids, [digestOf(layer)])
  assert.ok(readFileSync(join(root, 'back.tar')).includes(layer.subarray(512, 5512)))
  assert.deepEqual(JSON.parse((await skopeo('list-tags', '--tls-verify=false', `${host}/across/app`)).text).Tags, ['2'])
  const digest = (await skopeo('inspect', '--tls-verify=false', '--format', '{{.Digest}}', `${host}/across/app:2`)).text.trim()
  assert.equal((await skopeo('delete', '--tls-verify=false', '--creds', 'joe:pw', `${host}/across/app@${digest}`)).status, 0)
  assert.notEqual((await skopeo('inspect', '--tls-verify=false', `${host}/across/app:2`)).status, 0)
})
