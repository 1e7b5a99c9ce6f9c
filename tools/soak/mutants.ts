/**
 * `npm run soak -- mutants [--seeds 100] [NAME…]`: does the simulator notice? Bugs are planted one at a time, as a textual change
 * to a temporary copy of `src/`; each must be found within so many seeds, and the unchanged copy must pass all of them. A
 * change whose place is not found in the source exactly once fails the run: the list below has to keep up with the code.
 */
import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'

interface Mutant {
  readonly name: string
  /** What a cluster with this bug does wrong. */
  readonly bug: string
  readonly file: string
  readonly find: string
  readonly replace: string
}

export const mutants: readonly Mutant[] = [
  {
    name: 'dropped-watch-event',
    bug: 'one in fifty changes never reaches the watchers',
    file: 'src/cluster/apiserver/cache.ts',
    find: 'if (item !== undefined) watcher.offer(item)',
    replace: 'if (item !== undefined && change.entry.revision % 50n !== 7n) watcher.offer(item)',
  },
  {
    name: 'reused-revision',
    bug: 'after every sixtieth commit the store gives the same revision once more',
    file: 'src/cluster/store/memory/store.ts',
    find: '    this.#revision = revision\n',
    replace: '    if (revision % 60n !== 0n || this.#events.at(-1)?.revision === revision) this.#revision = revision\n',
  },
  {
    name: 'double-bind',
    bug: 'a pod that has a node can be bound to another one',
    file: 'src/cluster/apiserver/subresources.ts',
    find: "if ((pod.spec.nodeName ?? '') !== '') throw",
    replace: "if ((pod.spec.nodeName ?? '') === node) throw",
  },
  {
    name: 'stale-read',
    bug: 'reads that ask for the newest state do not wait for the caches',
    file: 'src/cluster/apiserver/read.ts',
    find: 'if (version === undefined) await state.caughtUp()',
    replace: 'if (version === undefined) await Promise.resolve()',
  },
  {
    name: 'lost-finalizer',
    bug: 'an object is removed although it has finalizers',
    file: 'src/cluster/apiserver/write.ts',
    find: '(meta.finalizers ?? []).length > 0) return false',
    replace: "(meta.finalizers ?? []).includes('foregroundDeletion')) return false",
  },
  {
    name: 'orphaned-pod',
    bug: 'a shrinking ReplicaSet believes that it deleted a pod which it did not',
    file: 'src/cluster/controllers/replicaset/controller.ts',
    find: 'await client.delete(Pod, { namespace, name }, { preconditions: { uid } })',
    replace: "if (!uid.endsWith('0')) await client.delete(Pod, { namespace, name }, { preconditions: { uid } })",
  },
  {
    name: 'unready-endpoint',
    bug: 'a pod that is not ready is an endpoint all the same',
    file: 'src/cluster/controllers/endpointslice/endpoints.ts',
    find: '(serving && !terminating)',
    replace: '!terminating',
  },
  {
    name: 'lossy-compaction',
    bug: 'compaction also forgets the events that follow the compacted revision',
    file: 'src/cluster/store/memory/store.ts',
    find: 'this.#events = this.#events.slice(firstAfter(this.#events, revision))',
    replace: 'this.#events = this.#events.slice(firstAfter(this.#events, revision + 8n))',
  },
  {
    name: 'missed-deletion',
    bug: 'an informer that lists anew keeps what was deleted meanwhile',
    file: 'src/cluster/client/informer.ts',
    find: 'if (!found.has(key)) this.#remove(key)',
    replace: "if (!found.has(key) && key === '') this.#remove(key)",
  },
  {
    name: 'overcommitted-node',
    bug: 'the scheduler does not count the pods whose binding is on its way',
    file: 'src/cluster/scheduler/scheduler.ts',
    find: '    this.#view.place(info, selection.node)\n',
    replace: '',
  },
  {
    name: 'lost-update',
    bug: 'a write guarded by a version is carried out over a newer one',
    file: 'src/cluster/apiserver/write.ts',
    find: '    checkPreconditions(kind, ref.name, previous, metaOf(submitted))\n',
    replace: '',
  },
  {
    name: 'forgotten-dependents',
    bug: 'the garbage collector does not look after the dependents of what was deleted',
    file: 'src/cluster/controllers/garbage-collector/controller.ts',
    find: '      for (const item of this.#dependents(object.metadata.uid)) yield keyOf(item)\n',
    replace: '',
  },
]

const repository = resolve(import.meta.dirname, '../..')
/** A copy that says nothing for so long hangs. */
const silenceMs = 180_000

interface Verdict {
  readonly status: number
  readonly lines: readonly string[]
  readonly hung: boolean
}

function copyWith(mutant: Mutant | undefined): string {
  const folder = mkdtempSync(join(tmpdir(), 'bm-'))
  for (const part of ['src', 'tools', 'package.json']) cpSync(join(repository, part), join(folder, part), { recursive: true })
  symlinkSync(join(repository, 'node_modules'), join(folder, 'node_modules'))
  if (mutant === undefined) return folder
  const file = join(folder, mutant.file)
  const text = readFileSync(file, 'utf8')
  const places = text.split(mutant.find).length - 1
  if (places !== 1) {
    rmSync(folder, { recursive: true })
    throw new Error(`the mutant ${mutant.name} does not apply: ${mutant.file} has its place ${places} times, not once`)
  }
  writeFileSync(file, text.replace(mutant.find, () => mutant.replace))
  return folder
}

function runSeeds(folder: string, options: readonly string[]): Promise<Verdict> {
  return new Promise((done, fail) => {
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', join(folder, 'tools/soak.ts'), 'sim', ...options], { stdio: ['ignore', 'pipe', 'pipe'] })
    let text = ''
    let hung = false
    let watchdog: NodeJS.Timeout | undefined
    const onOutput = (chunk: Buffer): void => {
      text += chunk.toString()
      clearTimeout(watchdog)
      watchdog = setTimeout(() => {
        hung = true
        child.kill('SIGKILL')
      }, silenceMs)
    }
    onOutput(Buffer.alloc(0))
    child.stdout.on('data', onOutput)
    child.stderr.on('data', onOutput)
    child.on('error', fail)
    child.on('close', (status) => {
      clearTimeout(watchdog)
      done({ status: status ?? 1, lines: text.split('\n').filter((line) => line !== ''), hung })
    })
  })
}

async function examine(mutant: Mutant | undefined, seeds: number): Promise<boolean> {
  const folder = copyWith(mutant)
  const startedMs = performance.now()
  try {
    const { status, lines, hung } = await runSeeds(folder, ['--seeds', String(seeds), ...(mutant === undefined ? [] : ['--stop'])])
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(0)
    const broke = lines.findIndex((line) => /^seed \d+ broke:/.test(line))
    if (mutant === undefined) {
      console.log(`unchanged: ${status === 0 && !hung ? `held for ${seeds} seeds` : `BROKE: ${lines.slice(Math.max(0, broke), broke + 3).join(' ')}`} (${seconds} s)`)
      return status === 0 && !hung
    }
    const found = status !== 0 && broke >= 0 && !hung
    const seed = /^seed (\d+)/.exec(lines[broke] ?? '')?.[1]
    console.log(`${mutant.name}: ${found ? `found at seed ${seed}:${lines[broke + 1]?.slice(0, 200)}` : hung ? 'HUNG' : `NOT FOUND in ${seeds} seeds ${lines.at(-1) ?? ''}`} (${seconds} s)`)
    return found
  } finally {
    rmSync(folder, { recursive: true })
  }
}

export async function run(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({ args: [...args], options: { seeds: { type: 'string', default: '100' } }, allowPositionals: true })
  const seeds = Number(values.seeds)
  const chosen = positionals.length === 0 ? mutants : mutants.filter(({ name }) => positionals.includes(name))
  if (chosen.length === 0) throw new RangeError(`no such mutant; there are: ${mutants.map(({ name }) => name).join(', ')}`)
  let missed = 0
  for (const mutant of chosen) if (!(await examine(mutant, seeds))) missed += 1
  if (positionals.length === 0 && !(await examine(undefined, seeds))) missed += 1
  console.log(`mutants: ${chosen.length - Math.min(missed, chosen.length)} of ${chosen.length} planted bugs found`)
  if (missed > 0) process.exitCode = 1
}
