/** One engine's side of the differential run: starts it, takes each client through all cases, writes down what they printed. */
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startDockerRegistry } from '../../bench/docker-registry.ts'
import { runProgram } from '../../tools/instance.ts'
import { clientPaths, type CliCase, type Lane, type LaneResult, type StepOutcome } from './case.ts'
import { removeEverything, serveBerth, serveDockerd, socketPath } from './engines.ts'
import { imageName, standInImage } from './image.ts'
import { normalise } from './normalise.ts'
import { startSearchIndex } from './search-index.ts'

/** Everything a case may see lies below this tmpfs, under the same path in both lanes. */
const place = '/mnt/case'
const stepTimeoutMs = 25_000

const eventually = `#!/bin/sh
n=0
until "$@" >/dev/null 2>&1; do n=$((n+1)); [ $n -gt 200 ] && exit 1; sleep 0.1; done
`

/** Types into a terminal: pairs of what to wait for and what to send, then the command. */
const pty = `#!${'/usr/bin/python3'}
import os, pty, sys, time, fcntl, termios, struct
i = sys.argv.index('--')
pairs = [(sys.argv[n].encode().decode('unicode_escape').encode(), sys.argv[n + 1].encode().decode('unicode_escape').encode('latin1')) for n in range(1, i, 2)]
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[i + 1], sys.argv[i + 1:])
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', 33, 99, 0, 0))
seen = b''
while True:
    try:
        data = os.read(fd, 65536)
    except OSError:
        break
    if not data:
        break
    seen += data
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
    while pairs and pairs[0][0] in seen:
        expect, send = pairs.pop(0)
        seen = seen[seen.index(expect) + len(expect):]
        os.write(fd, send)
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status) % 256)
`

export interface LaneOptions {
  readonly engine: Lane['engine']
  readonly runs: readonly Pick<Lane, 'client' | 'apiVersion'>[]
}

/** Call inside namespaces of its own. */
export async function runLanes({ engine, runs }: LaneOptions, cases: readonly CliCase[]): Promise<LaneResult[]> {
  for (const args of [['ip', 'link', 'set', 'lo', 'up'], ['mount', '-t', 'tmpfs', 'tmpfs', '/run'], ['mount', '-t', 'tmpfs', 'tmpfs', '/mnt']]) spawnSync(args[0] ?? '', args.slice(1))
  const tools = '/mnt/bin'
  mkdirSync(tools)
  for (const [name, content] of [['eventually', eventually], ['pty', pty]] as const) {
    writeFileSync(join(tools, name), content)
    chmodSync(join(tools, name), 0o755)
  }
  await using served = engine === 'dockerd' ? await serveDockerd() : await serveBerth()
  await using _registry = await startDockerRegistry(5000)
  await using _index = await startSearchIndex(5001)
  const image = standInImage()
  writeFileSync('/mnt/bb.tar', image.archive)
  await loadImage()
  const results: LaneResult[] = []
  for (const { client, apiVersion } of runs) {
    if (!existsSync(clientPaths[client])) throw new Error(`docker CLI ${client} is not at ${clientPaths[client]}`)
    const transcript: Record<string, StepOutcome[]> = {}
    rmSync('/mnt/calls', { force: true })
    writeFileSync(join(tools, 'docker'), `#!/bin/sh\n{ printf '%s\\0' "$@"; printf '\\036'; } >>/mnt/calls\nexec ${clientPaths[client]} "$@"\n`)
    chmodSync(join(tools, 'docker'), 0o755)
    for (const each of cases) {
      if (each.clients !== undefined && !each.clients.includes(client)) continue
      if (process.env['CLI_PROGRESS'] !== undefined) console.error(`${engine} ${client} ${apiVersion} ${each.name}`)
      transcript[each.name] = normalise(await runCase(each, apiVersion), served.roots, [image.imageId.slice(0, 12)])
      if (!(await removeEverything(image.imageId, imageName))) await loadImage()
    }
    results.push({ engine, client, apiVersion, transcript, calls: readCalls() })
  }
  return results
}

async function loadImage(): Promise<void> {
  // Not synchronously: Berth answers from this very process.
  const loaded = await runProgram([clientPaths['28'], '-H', `unix://${socketPath}`, 'load', '-i', '/mnt/bb.tar'], process.env)
  if (loaded.exitCode !== 0) throw new Error(`docker load: ${loaded.output}`)
}

function readCalls(): string[][] {
  if (!existsSync('/mnt/calls')) return []
  return readFileSync('/mnt/calls', 'utf8').split('\u001e').filter((call) => call !== '').map((call) => call.split('\0').slice(0, -1))
}

async function runCase({ lines }: CliCase, apiVersion: Lane['apiVersion']): Promise<StepOutcome[]> {
  rmSync(place, { recursive: true, force: true })
  mkdirSync(join(place, 'home'), { recursive: true })
  symlinkSync('/mnt/bb.tar', join(place, 'bb.tar'))
  const env = { PATH: '/mnt/bin:/usr/bin:/bin', HOME: join(place, 'home'), LANG: 'C.UTF-8', DOCKER_CLI_HINTS: 'false', DOCKER_BUILDKIT: '0', TERM: 'xterm', ...(apiVersion === '1.41' ? { DOCKER_API_VERSION: apiVersion } : {}) }
  const outcomes: StepOutcome[] = []
  for (const line of lines) outcomes.push({ ...(await runLine(line.replace(/^! /, ''), env)), line })
  return outcomes
}

function runLine(line: string, env: NodeJS.ProcessEnv): Promise<StepOutcome> {
  return new Promise((fulfil, reject) => {
    const child = spawn('/bin/sh', ['-c', line], { cwd: place, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
    const out: Buffer[] = []
    const err: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk))
    let late = false
    const timer = setTimeout(() => {
      late = true
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    }, stepTimeoutMs)
    child.once('error', reject)
    child.once('close', (code) => {
      clearTimeout(timer)
      fulfil({ line, stdout: Buffer.concat(out).toString(), stderr: late ? `${Buffer.concat(err).toString()}<did not end within ${stepTimeoutMs} ms>\n` : Buffer.concat(err).toString(), exitCode: code ?? -1 })
    })
  })
}
