/** The engines side by side in the namespaces of one benchmark, each with the same image: Berth, and dockerd and podman where they are installed. */
import { spawn, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInstance, enterNamespaces } from '../tools/instance.ts'
import { startDockerd } from './dockerd.ts'
import { preparePodman } from './podman.ts'

export const image = 'bench:busybox'

export interface Engine {
  readonly name: 'berth' | 'dockerd' | 'podman'
  /** The stock client, up to the subcommand. */
  readonly argv: readonly [string, ...string[]]
  readonly env: NodeJS.ProcessEnv
  /** Pids of what serves all containers; none for podman. */
  readonly daemons: () => readonly number[]
  /** Pids of what stands beside each container: conmons, shims. Not the container's own process. */
  readonly companions: () => readonly number[]
}

/** Runs the client to its end; throws with its words when it fails. */
export function client({ argv, env }: Engine, args: readonly string[]): string {
  const [program, ...before] = argv
  const result = spawnSync(program, [...before, ...args], { encoding: 'utf8', env })
  if (result.status !== 0) throw new Error(`${[...argv, ...args].join(' ')} ended with ${result.status}: ${result.stderr}`)
  return result.stdout
}

/** The same without blocking. */
export async function startClient({ argv, env }: Engine, args: readonly string[]): Promise<void> {
  const [program, ...before] = argv
  const code = await new Promise<number | null>((resolve, reject) => {
    const child = spawn(program, [...before, ...args], { env, stdio: ['ignore', 'ignore', 'inherit'] })
    child.on('error', reject)
    child.on('close', resolve)
  })
  if (code !== 0) throw new Error(`${[...argv, ...args].join(' ')} ended with ${code}`)
}

/** Pids whose command line has all these words somewhere. */
export function processesWith(...words: readonly string[]): number[] {
  return readdirSync('/proc').map(Number).filter((pid) => {
    if (!Number.isInteger(pid)) return false
    const command = readIfAlive(`/proc/${pid}/cmdline`)
    return words.every((word) => command.includes(word))
  })
}

function readIfAlive(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')) return ''
    throw error
  }
}

/** A busybox root as a tar, the same for all. */
export function busyboxArchive(folder: string): string {
  const root = join(folder, 'root')
  mkdirSync(join(root, 'bin'), { recursive: true })
  cpSync('/bin/busybox', join(root, 'bin/busybox'))
  for (const name of ['sh', 'true', 'sleep', 'echo', 'cat', 'ls', 'wget']) symlinkSync('busybox', join(root, 'bin', name))
  const archive = join(folder, 'busybox.tar')
  const tar = spawnSync('tar', ['-C', root, '-cf', archive, '.'])
  if (tar.status !== 0) throw new Error(`tar: ${tar.stderr.toString()}`)
  return archive
}

/** Starts the engines, gives each the image, and takes all down again after `work`. Berth comes first. */
export async function withEngines(work: (engines: readonly Engine[], folder: string) => Promise<void>): Promise<void> {
  enterNamespaces()
  const folder = mkdtempSync(join(tmpdir(), 'be-'))
  using podman = preparePodman()
  using instance = createInstance()
  await using dockerd = await startDockerd()
  instance.up()
  const engines: Engine[] = [
    {
      name: 'berth',
      argv: ['docker', '-H', instance.dockerHost],
      env: instance.env,
      daemons: () => [Number(readFileSync(join(instance.root, 'run/node.pid'), 'utf8'))],
      companions: () => processesWith('conmon', instance.root),
    },
  ]
  if (dockerd !== undefined) {
    const root = dockerd.dockerHost.replace(/^unix:\/\/(.*)\/d\.sock$/, '$1')
    engines.push({ name: 'dockerd', argv: ['docker', '-H', dockerd.dockerHost], env: instance.env, daemons: () => processesWith(root).filter((pid) => !readIfAlive(`/proc/${pid}/cmdline`).includes('shim')), companions: () => processesWith('shim', root) })
  }
  if (podman !== undefined) engines.push({ name: 'podman', argv: podman.argv, env: podman.env, daemons: () => [], companions: () => processesWith('conmon', podman.root) })
  const archive = busyboxArchive(folder)
  for (const engine of engines) client(engine, ['import', archive, image])
  await work(engines, folder)
  rmSync(folder, { recursive: true })
}
