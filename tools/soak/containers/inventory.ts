/**
 * Everything an instance can leave on a machine, as lines of text: mounts, namespace pins, cgroups, links, nft rules, routes,
 * processes, files. Two inventories are compared line by line; what differs is what leaked.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join, relative } from 'node:path'
import { listAt, objectAt, textAt } from '../../../src/cli/json.ts'
import { listNft } from '../../../src/linux/real/operations/nftables.ts'

export interface Place {
  /** BERTH_ROOT of the instance. */
  readonly root: string
  /** Its name on the machine, e.g. `berth-1a2b3c`. */
  readonly name: string
  /** Its nft tables, each with its family. */
  readonly tables: readonly string[]
}

/** Where nothing is the engine's: the cluster's store grows, logs and sockets come and go with the processes. */
const notTheEngines = [/^log\/[a-z]+\.log(\.\d+)?$/, /^(state|lib|var)\/(server|store)\b/, /\/store\.db/]

/** A file that vanishes while we look is not there. */
function ifThere<T>(look: () => T, otherwise: T): T {
  try {
    return look()
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH' || error.code === 'EACCES' || error.code === 'ENOTDIR')) return otherwise
    throw error
  }
}

export function nodePid({ root }: Place): number {
  return Number(ifThere(() => readFileSync(join(root, 'run/node.pid'), 'utf8'), '0'))
}

function mountsOf(pid: number | 'self', { root }: Place): string[] {
  return ifThere(() => readFileSync(`/proc/${pid}/mountinfo`, 'utf8'), '')
    .split('\n')
    .filter((line) => line.includes(root))
    .map((line) => `mount ${pid === 'self' ? '(ours)' : '(node)'} ${line.split(' ')[4] ?? ''} ${line.split(' - ')[1]?.split(' ')[0] ?? ''}`)
}

function walk(folder: string, visit: (path: string, isFolder: boolean) => boolean): void {
  for (const entry of ifThere(() => readdirSync(folder, { withFileTypes: true }), [])) {
    const path = join(folder, entry.name)
    if (visit(path, entry.isDirectory()) && entry.isDirectory()) walk(path, visit)
  }
}

/** Cgroup folders of the instance in every hierarchy, the first one's processes with them. */
function cgroupsOf({ name }: Place): { readonly folders: string[]; readonly pids: Set<number> } {
  const tops = ['/sys/fs/cgroup', ...readdirSync('/sys/fs/cgroup').map((entry) => join('/sys/fs/cgroup', entry))].map((folder) => join(folder, name)).filter((folder) => existsSync(folder))
  const folders = [...tops]
  for (const top of tops) walk(top, (path, isFolder) => isFolder && folders.push(path) > 0)
  const pids = new Set<number>()
  for (const folder of folders) for (const line of ifThere(() => readFileSync(join(folder, 'cgroup.procs'), 'utf8'), '').split('\n')) if (line !== '' && line !== '0') pids.add(Number(line))
  return { folders: folders.map((folder) => `cgroup ${folder}`), pids }
}

/** Plain files where the node process does not see the v2 tree of a hybrid machine. */
function hiddenTreeOf(place: Place): string[] {
  const tree = `/proc/${nodePid(place)}/root/sys/fs/cgroup/unified`
  const found: string[] = []
  if (existsSync(tree) && !existsSync(join(tree, 'cgroup.procs'))) walk(join(tree, place.name), (path) => found.push(`hidden ${relative(tree, path)}`) > 0)
  return found
}

function commandOf(pid: number): string {
  const words = ifThere(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8'), '').split('\0')
  return words.join(' ').trim()
}

/** Of the instance is what stands in its cgroups, names its root, or shares our network namespace without being our own kin. */
function processesOf(place: Place, inCgroups: ReadonlySet<number>): string[] {
  const ownNet = readlinkSync('/proc/self/ns/net')
  const kin = new Set([process.pid, process.ppid])
  const found: string[] = []
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry)
    if (!Number.isInteger(pid) || kin.has(pid)) continue
    const command = commandOf(pid)
    const state = ifThere(() => readFileSync(`/proc/${pid}/stat`, 'utf8'), '').split(') ')[1]?.[0]
    const ours = inCgroups.has(pid) || command.includes(place.root) || ifThere(() => readlinkSync(`/proc/${pid}/ns/net`), '') === ownNet
    if (ours && state !== undefined && state !== 'Z') found.push(`process ${command}`)
  }
  return found
}

function filesOf({ root }: Place): string[] {
  const found: string[] = []
  walk(root, (path) => {
    const name = relative(root, path)
    if (notTheEngines.some((pattern) => pattern.test(name))) return false
    const stat = ifThere(() => lstatSync(path), undefined)
    if (stat !== undefined) found.push(`file ${name}${stat.isDirectory() ? '/' : ''}`)
    return true
  })
  return found
}

function output(argv: readonly [string, ...string[]]): string[] {
  const [program, ...args] = argv
  const result = spawnSync(program, args, { encoding: 'utf8', maxBuffer: 2 ** 26 })
  if (result.status !== 0) throw new Error(`${argv.join(' ')} ended with ${result.status}: ${result.stderr}`)
  return result.stdout.split('\n').filter((line) => line.trim() !== '')
}

/** Link numbers are given out anew; a bridge without ports loses its carrier. */
function linksOf(): string[] {
  return output(['ip', '-o', 'link', 'show']).map((line) => `link ${(/^\d+: ([^:@]+)/.exec(line)?.[1] ?? line).trim()} master ${/ master (\S+)/.exec(line)?.[1] ?? 'none'}`)
}

/** The kernel numbers rules anew whenever a table is replaced; an element of a set is a line of its own. */
function rulesOf(place: Place): string[] {
  return place.tables.flatMap((table) =>
    listNft({ table }).flatMap((row) => {
      const set = objectAt(row, 'set')
      const map = objectAt(row, 'map')
      const elements = [...listAt(set, 'elem'), ...listAt(map, 'elem')].map((element) => `nft ${table} ${textAt(set, 'name')}${textAt(map, 'name')} ${JSON.stringify(element)}`)
      return [`nft ${JSON.stringify(row, (key, value: unknown) => (key === 'handle' || key === 'elem' ? undefined : value))}`, ...elements]
    }),
  )
}

export function takeInventory(place: Place): string[] {
  const cgroups = cgroupsOf(place)
  const node = nodePid(place)
  return [
    ...mountsOf('self', place),
    ...(node > 0 ? mountsOf(node, place) : []),
    ...cgroups.folders,
    ...hiddenTreeOf(place),
    ...processesOf(place, cgroups.pids),
    ...linksOf(),
    ...rulesOf(place),
    ...output(['ip', '-4', 'route', 'show', 'table', 'all']).map((line) => `route ${line.replace(/ linkdown| dead/g, '').trim()}`),
    ...filesOf(place),
  ].sort()
}

/** Lines that one has more often than the other, with `+` or `-` before them. */
export function difference(before: readonly string[], after: readonly string[]): string[] {
  const count = new Map<string, number>()
  for (const line of before) count.set(line, (count.get(line) ?? 0) - 1)
  for (const line of after) count.set(line, (count.get(line) ?? 0) + 1)
  return [...count].filter(([, extra]) => extra !== 0).map(([line, extra]) => `${extra > 0 ? '+' : '-'}${Math.abs(extra) > 1 ? ` ${Math.abs(extra)}×` : ''} ${line}`)
}

export interface Weight {
  readonly pssBytes: number
  readonly descriptors: number
  readonly threads: number
  /** What the descriptors are, numbers left out, e.g. `12× socket:[]`. */
  readonly kinds: readonly string[]
}

/** What the node process weighs. */
export function weigh(place: Place): Weight {
  const pid = nodePid(place)
  const pssKb = /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]
  const descriptors = readdirSync(`/proc/${pid}/fd`)
  const kinds = descriptors.map((fd) => `descriptor ${ifThere(() => readlinkSync(`/proc/${pid}/fd/${fd}`), 'gone').replace(/\[\d+\]/, '[]').replace(/[0-9a-f]{12,}/g, 'ID')}`)
  return { pssBytes: Number(pssKb) * 1024, descriptors: descriptors.length, threads: readdirSync(`/proc/${pid}/task`).length, kinds }
}
