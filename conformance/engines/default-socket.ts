/**
 * One engine at the place where clients look first: /run/docker.sock, in the mount namespace of the caller, with the stand-in
 * images loaded. dockerd and Berth are given the same.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { createServer, request } from 'node:http'
import { join } from 'node:path'
import { startDockerd } from '../../bench/dockerd.ts'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { systemRandom } from '../../src/base/random.ts'
import { engineHandler } from '../../src/engine/http/handler.ts'
import { openEngine } from '../../src/engine/open.ts'
import { openKernel } from '../../src/linux/real/kernel.ts'
import { openFileBlobs } from '../../src/oci/blobs/file-system.ts'

export type EngineName = 'dockerd' | 'berth'

const socket = '/run/docker.sock'

/** Starts it, runs `use`, ends it; nothing is left. Call inside namespaces of one's own. */
export async function withEngine(name: EngineName, folder: string, images: Buffer, use: () => Promise<void>): Promise<void> {
  if (name === 'dockerd') {
    await using dockerd = await startDockerd(`unix://${socket}`)
    if (dockerd === undefined) throw new Error('dockerd is not installed (Debian package docker.io): nothing to compare with')
    await loadImages(images)
    await use()
    // dockerd stops what runs when it ends, but slowly, and leaves the shims of what it cannot stop.
    const running = spawnSync('docker', ['ps', '-aq'], { encoding: 'utf8' }).stdout.split('\n').filter((id) => id !== '')
    if (running.length > 0) spawnSync('docker', ['rm', '-f', ...running])
    return
  }
  const kernel = await openKernel()
  try {
    const cgroup = `berth-conformance-${process.pid}`
    mkdirSync(folder, { recursive: true })
    const engine = await openEngine({
      kernel, blobs: await openFileBlobs(join(folder, 'blobs')), paths: { state: join(folder, 's'), run: join(folder, 'r') }, names: { cgroup, table: 'berth_conformance', bridge: 'bcnf0' },
      networks: { bridgeSubnet: '172.29.0.0/16' }, clock: systemClock, random: systemRandom, log: silentLogger,
    })
    const handler = engineHandler(engine)
    const server = createServer(handler.request).on('upgrade', handler.upgrade)
    await new Promise<void>((done) => server.listen(socket, done))
    await loadImages(images)
    await use()
    for (const { id } of engine.containers.list({ namespace: 'all' })) await engine.containers.remove(id, { force: true, volumes: true })
    server.closeAllConnections()
    server.close()
    await engine[Symbol.asyncDispose]()
    await kernel.cgroups.remove(cgroup)
  } finally {
    await kernel[Symbol.asyncDispose]()
  }
}

function loadImages(archive: Buffer): Promise<void> {
  return new Promise((done, fail) => {
    const load = request({ socketPath: socket, path: '/images/load?quiet=1', method: 'POST', headers: { 'Content-Type': 'application/x-tar', 'Content-Length': archive.length } }, (response) => {
      let text = ''
      response.on('data', (chunk) => (text += String(chunk)))
      response.on('end', () => (response.statusCode === 200 && !text.includes('errorDetail') ? done() : fail(new Error(`images/load: ${response.statusCode} ${text}`))))
    })
    load.on('error', fail).end(archive)
  })
}
