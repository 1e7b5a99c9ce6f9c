/**
 * `npm test [-- PATH…]`: tidy, lint (.oxlintrc.json), type-check, then the fast suites in two lanes side by side, each in private network
 * and mount namespaces without a default route, so that no two suites that run at the same time share links, rules or routes
 * (docs/decisions/0006). With a temporary BERTH_TEST_ROOT; afterwards nothing of ours may be left on the machine.
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { instanceOf } from '../src/apps/config/instance.ts'

const repository = resolve(import.meta.dirname, '..')
const insideFlag = '--inside-namespaces'
/** Two cores are what CI has. */
const lanes = 2

/** Everything under /sys/fs/cgroup that names berth, so that what the run adds can be told from what stood before. */
function berthCgroups(): Set<string> {
  const found = new Set<string>()
  const visit = (folder: string, depth: number): void => {
    if (depth > 5 || !existsSync(folder)) return
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (!entry.isDirectory()) continue
      const path = join(folder, entry.name)
      if (/berth/i.test(entry.name)) found.add(path)
      visit(path, depth + 1)
    }
  }
  visit('/sys/fs/cgroup', 0)
  return found
}

/**
 * Whether a process that is still there made this cgroup: another Berth or another test run on the machine. Suites end their cgroups'
 * names with their process id; an instance's processes have its BERTH_ROOT in their environment.
 */
function ownerLives(path: string): boolean {
  const name = path.split('/').find((part) => part.startsWith('berth')) ?? ''
  const pid = /^berth-.+-(\d+)$/.exec(name)?.[1]
  if (pid !== undefined) return existsSync(`/proc/${pid}`)
  return readdirSync('/proc').filter((entry) => /^\d+$/.test(entry)).some((entry) => {
    try {
      const root = readFileSync(`/proc/${entry}/environ`, 'utf8').split('\0').find((line) => line.startsWith('BERTH_ROOT='))?.slice('BERTH_ROOT='.length)
      return root !== undefined && instanceOf(root).name === name
    } catch (error) {
      // The process ended while we looked.
      if (!(error instanceof Error) || !('code' in error)) throw error
      return false
    }
  })
}

/** Processes other than ours that stand in our private network namespace. */
function strayProcesses(): string[] {
  const own = readlinkSync('/proc/self/ns/net')
  const strays: string[] = []
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    if (Number(pid) === process.pid || Number(pid) === process.ppid) continue
    try {
      if (readlinkSync(`/proc/${pid}/ns/net`) !== own) continue
      strays.push(`${pid} ${readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()}`)
    } catch (error) {
      // The process ended while we looked.
      if (!(error instanceof Error) || !('code' in error)) throw error
    }
  }
  return strays
}

function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): number {
  const result = spawnSync(command, args, { stdio: 'inherit', cwd: repository, env })
  if (result.error !== undefined) throw result.error
  return result.status ?? 1
}

interface LaneResult {
  readonly status: number
  readonly output: string
}

/** Runs every `lanes`-th suite from the `lane`-th on, in namespaces of its own. The first lane is watched live. */
function runLane(lane: number, env: NodeJS.ProcessEnv, paths: readonly string[]): Promise<LaneResult> {
  const node = [process.execPath, '--disable-warning=ExperimentalWarning', import.meta.filename, insideFlag, String(lane), ...paths]
  return new Promise((done, fail) => {
    const child = spawn('unshare', ['--net', '--mount', '--propagation', 'private', '--', ...node], { stdio: ['ignore', 'pipe', 'pipe'], cwd: repository, env })
    let output = ''
    const take = (chunk: Buffer): void => {
      output += chunk.toString()
      if (lane === 0) process.stdout.write(chunk)
    }
    child.stdout.on('data', take)
    child.stderr.on('data', take)
    child.on('error', fail)
    child.on('close', (code) => done({ status: code ?? 1, output }))
  })
}

/** The sum of the closing lines `ℹ NAME N` of all lanes. A lane that closed without them counts as a failure of its own. */
function closingCount(results: readonly LaneResult[], name: string): number {
  return results.reduce((sum, { output }) => sum + Number(new RegExp(`^ℹ ${name} (\\d+)$`, 'm').exec(output)?.[1] ?? (name === 'fail' ? 1 : 0)), 0)
}

async function outside(paths: readonly string[]): Promise<number> {
  const started = Date.now()
  if (run(process.execPath, ['tools/tidy.ts']) !== 0) return 1
  if (run(process.execPath, ['node_modules/oxlint/bin/oxlint', '--quiet', 'src', 'tools', 'bench', 'conformance']) !== 0) return 1
  if (run(process.execPath, ['node_modules/typescript/bin/tsc', '--noEmit']) !== 0) return 1
  if (process.getuid?.() !== 0) {
    console.error('berth: the suites make namespaces, mounts and cgroups: run npm test as root (sudo npm test)')
    return 1
  }
  const before = berthCgroups()
  const root = mkdtempSync(join(tmpdir(), 'bt-'))
  const env = { ...process.env, BERTH_TEST_ROOT: root }
  const files = testFiles(paths)
  if (files.length === 0) {
    console.error(`berth: no test file below ${paths.join(', ')}`)
    return 1
  }
  const results = await Promise.all(Array.from({ length: Math.min(lanes, files.length) }, (_, lane) => runLane(lane, env, paths)))
  for (const { output } of results.slice(1)) console.log(output)
  let status = Math.max(...results.map((result) => result.status))
  const leftCgroups = [...berthCgroups()].filter((path) => !before.has(path) && !ownerLives(path))
  if (leftCgroups.length > 0) {
    console.error(`berth: the suites left cgroups behind:\n${leftCgroups.join('\n')}`)
    status = 1
  }
  const leftFiles = readdirSync(root)
  if (leftFiles.length > 0) {
    console.error(`berth: the suites left files behind in ${root}: ${leftFiles.join(', ')}`)
    status = 1
  } else rmSync(root, { recursive: true })
  console.log(`berth: npm test took ${Math.round((Date.now() - started) / 1000)} s`)
  console.log(`${closingCount(results, 'pass')} passed, ${closingCount(results, 'fail') + closingCount(results, 'cancelled')} failed, ${closingCount(results, 'skipped')} skipped`)
  return status
}

function testFiles(paths: readonly string[]): string[] {
  const roots = paths.length > 0 ? paths : ['src', 'tools', 'bench', 'conformance']
  const found: string[] = []
  const visit = (path: string): void => {
    if (path.endsWith('.ts')) {
      if (path.endsWith('.test.ts')) found.push(path)
      return
    }
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      if (entry.isDirectory() || entry.name.endsWith('.test.ts')) visit(join(path, entry.name))
    }
  }
  for (const path of roots) if (existsSync(join(repository, path))) visit(path)
  return found.sort()
}

/** A test that hangs fails with its name, well before a runner's own limit ends everything without one. Milliseconds; of a file too. */
const hangTimeout = 300_000

function inside(lane: number, paths: readonly string[]): number {
  if (run('ip', ['link', 'set', 'lo', 'up']) !== 0) return 1
  const files = testFiles(paths).filter((_, index) => index % lanes === lane)
  let status = run(process.execPath, ['--disable-warning=ExperimentalWarning', '--test', '--test-concurrency=1', `--test-timeout=${hangTimeout}`, ...files])
  const strays = strayProcesses()
  if (strays.length > 0) {
    console.error(`berth: the suites left processes behind:\n${strays.join('\n')}`)
    for (const stray of strays) process.kill(Number(stray.split(' ')[0]), 'SIGKILL')
    status = 1
  }
  return status
}

const args = process.argv.slice(2)
process.exitCode = args[0] === insideFlag ? inside(Number(args[1]), args.slice(2)) : await outside(args)
