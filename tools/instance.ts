/**
 * A Berth of one's own for tests, benchmarks and soaks: private network and mount namespaces without a default route, a
 * BERTH_ROOT in a temporary directory, and nothing left afterwards.
 */
import { spawn, spawnSync, type SpawnSyncReturns } from 'node:child_process'
import { mkdtempSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const repository = resolve(import.meta.dirname, '..')
const insideVariable = 'BERTH_INSIDE_NAMESPACES'

/**
 * Makes sure that this program runs in namespaces of its own: runs itself again inside and ends with that run's exit code.
 * Returns only inside.
 */
export function enterNamespaces(): void {
  if (process.env[insideVariable] !== undefined && process.env[insideVariable] !== readlinkSync('/proc/self/ns/net')) return
  const env = { ...process.env, [insideVariable]: readlinkSync('/proc/self/ns/net') }
  const result = spawnSync('unshare', ['--net', '--mount', '--propagation', 'private', '--', process.execPath, ...process.execArgv, ...process.argv.slice(1)], { stdio: 'inherit', env })
  if (result.error !== undefined) throw result.error
  process.exit(result.status ?? 1)
}

export interface BerthInstance {
  readonly root: string
  readonly env: NodeJS.ProcessEnv
  readonly dockerHost: string
  readonly kubeconfig: string
  /** Runs `berth ARGS` to its end. */
  berth(args: readonly string[], input?: string): SpawnSyncReturns<string>
  /** `berth up --detach`; throws with its output when it fails. */
  up(): void
  down(): void
}

/** An instance in a new temporary root, with more variables in its environment; `remove` with down() and rm when done. Call inside `enterNamespaces`. */
export function createInstance(variables: NodeJS.ProcessEnv = {}): BerthInstance & Disposable {
  const up = spawnSync('ip', ['link', 'set', 'lo', 'up'], { encoding: 'utf8' })
  if (up.status !== 0) throw new Error(`ip link set lo up: ${up.stderr}`)
  const root = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'bi-'))
  const env: NodeJS.ProcessEnv = { ...process.env, ...variables, BERTH_ROOT: root, DOCKER_HOST: `unix://${root}/run/docker.sock`, KUBECONFIG: `${root}/etc/kubeconfig`, DOCKER_CONFIG: join(root, 'docker') }
  const berth = (args: readonly string[], input?: string): SpawnSyncReturns<string> => {
    const result = spawnSync(join(repository, 'bin/berth'), args, { env, encoding: 'utf8', maxBuffer: 2 ** 28, ...(input === undefined ? {} : { input }) })
    if (result.error !== undefined) throw result.error
    return result
  }
  const must = (args: readonly string[]): void => {
    const result = berth(args)
    if (result.status !== 0) throw new Error(`berth ${args.join(' ')} ended with ${result.status}:\n${result.stdout}${result.stderr}`)
  }
  return {
    root,
    env,
    dockerHost: `unix://${root}/run/docker.sock`,
    kubeconfig: `${root}/etc/kubeconfig`,
    berth,
    up: () => must(['up', '--detach']),
    down: () => must(['down']),
    [Symbol.dispose]() {
      must(['down'])
      rmSync(root, { recursive: true })
    },
  }
}

export interface Running {
  readonly exitCode: number
  readonly output: string
}

/** Runs a program to its end without blocking, output collected. */
export function runProgram(argv: readonly [string, ...string[]], env: NodeJS.ProcessEnv, input?: string | Buffer): Promise<Running> {
  const [program, ...args] = argv
  return new Promise((fulfil, reject) => {
    const child = spawn(program, args, { env, stdio: ['pipe', 'pipe', 'pipe'] })
    let output = ''
    child.stdout.on('data', (chunk) => (output += String(chunk)))
    child.stderr.on('data', (chunk) => (output += String(chunk)))
    child.on('error', reject)
    child.on('close', (code) => fulfil({ exitCode: code ?? 1, output }))
    child.stdin.on('error', (error) => {
      // A program that does not read its input may end before all of it is written.
      if (!('code' in error) || error.code !== 'EPIPE') reject(error)
    })
    child.stdin.end(input)
  })
}
