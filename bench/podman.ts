/**
 * Podman as the peer: own storage, configuration and network state inside the namespaces of the benchmark. It has no daemon, so
 * there is nothing to end; what it leaves is taken away.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Podman extends Disposable {
  readonly root: string
  /** `podman` with its places: a subcommand follows. */
  readonly argv: readonly [string, ...string[]]
  readonly env: NodeJS.ProcessEnv
}

/** undefined where podman is not installed. Call inside `enterNamespaces`. */
export function preparePodman(): Podman | undefined {
  if (!existsSync('/usr/bin/podman')) return undefined
  const root = mkdtempSync(join(tmpdir(), 'pm-'))
  hideHybridTree()
  // Its network plugins know no other place for their leases and pins.
  for (const folder of ['/var/lib/cni', '/run/netns']) {
    mkdirSync(folder, { recursive: true })
    must(['mount', '-t', 'tmpfs', 'podman', folder])
  }
  const configuration = join(root, 'containers.conf')
  // Podman asks for more open files than this machine may have anybody get, unless it is told a number.
  const openFiles = /Max open files\s+\d+\s+(\d+)/.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? '1024'
  writeFileSync(configuration, `[containers]\ndefault_ulimits = ["nofile=${openFiles}:${openFiles}", "nproc=20000:20000"]\n`)
  const argv = ['podman', '--root', join(root, 'root'), '--runroot', join(root, 'run'), '--tmpdir', join(root, 'tmp'), '--cgroup-manager', 'cgroupfs', '--storage-driver', 'overlay', '--runtime', 'crun'] as const
  return {
    root,
    argv: [...argv],
    env: { ...process.env, CONTAINERS_CONF: configuration },
    [Symbol.dispose]() {
      for (const target of readFileSync('/proc/self/mounts', 'utf8').split('\n').map((line) => line.split(' ')[1] ?? '').filter((target) => target.startsWith(root)).toReversed()) must(['umount', '-l', target])
      removeCgroups()
      rmSync(root, { recursive: true })
    },
  }
}

/** crun refuses a hybrid cgroup tree that it can see; Berth's own engine hides it likewise. */
function hideHybridTree(): void {
  if (existsSync('/sys/fs/cgroup/unified/cgroup.controllers')) must(['umount', '/sys/fs/cgroup/unified'])
}

function must(argv: readonly [string, ...string[]]): void {
  const [program, ...args] = argv
  const result = spawnSync(program, args, { encoding: 'utf8' })
  if (result.status !== 0) throw new Error(`${argv.join(' ')} ended with ${result.status}: ${result.stderr}`)
}

/** Only empty ones: whoever else runs podman here keeps his. Where the v2 tree was hidden, what podman made there is a plain folder. */
function removeCgroups(): void {
  for (const controller of readdirSync('/sys/fs/cgroup')) {
    const folder = join('/sys/fs/cgroup', controller, 'libpod_parent')
    if (!existsSync(folder)) continue
    if (existsSync(join('/sys/fs/cgroup', controller, 'cgroup.procs'))) removeEmpty(folder)
    else rmSync(folder, { recursive: true })
  }
}

function removeEmpty(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) if (entry.isDirectory()) removeEmpty(join(folder, entry.name))
  try {
    rmdirSync(folder)
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error) || (error.code !== 'EBUSY' && error.code !== 'ENOTEMPTY')) throw error
  }
}
