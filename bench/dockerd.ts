/** Debian's dockerd as the peer: own data root, inside the namespaces of the benchmark, ended by its own pid. */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

export interface Dockerd extends AsyncDisposable {
  readonly dockerHost: string
}

/** undefined where dockerd is not installed. Listens on a socket in its own folder, or where it is told to. */
export async function startDockerd(host?: string): Promise<Dockerd | undefined> {
  if (!existsSync('/usr/sbin/dockerd') && !existsSync('/usr/bin/dockerd')) return undefined
  const root = mkdtempSync(join(tmpdir(), 'dd-'))
  const dockerHost = host ?? `unix://${root}/d.sock`
  const args = ['--data-root', `${root}/data`, '--exec-root', `${root}/exec`, '-H', dockerHost, '--pidfile', `${root}/pid`, '--storage-driver', 'overlay2']
  const daemon = spawn('dockerd', args, { stdio: 'ignore' })
  const ended = new Promise<void>((resolve) => daemon.once('exit', () => resolve()))
  for (let attempt = 0; ; attempt += 1) {
    if (spawnSync('docker', ['-H', dockerHost, 'version'], { stdio: 'ignore' }).status === 0) break
    if (attempt > 200 || daemon.exitCode !== null) throw new Error('dockerd did not start')
    await delay(100)
  }
  return {
    dockerHost,
    async [Symbol.asyncDispose]() {
      daemon.kill('SIGTERM')
      await ended
      unmountBelow(root)
      removeCgroups()
      rmSync(root, { recursive: true })
    },
  }
}

function unmountBelow(root: string): void {
  const targets = readFileSync('/proc/self/mounts', 'utf8').split('\n').map((line) => line.split(' ')[1] ?? '').filter((target) => target.startsWith(root))
  for (const target of targets.toReversed()) spawnSync('umount', ['-l', target])
}

/** dockerd leaves its empty `docker` cgroup behind. */
function removeCgroups(): void {
  for (const controller of readdirSync('/sys/fs/cgroup')) {
    const folder = join('/sys/fs/cgroup', controller, 'docker')
    if (existsSync(folder)) spawnSync('rmdir', [folder])
  }
}
