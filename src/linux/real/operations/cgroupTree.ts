/** Where the control-group hierarchies of this machine are mounted, and the small file operations on them. Sync fs, kernel workers only. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { systemErrorCode } from '#base/fault.ts'
import { errnoFault } from '../../contract/errno.ts'
import type { CgroupMode } from '../../contract/cgroups.ts'
import { mountTable } from './mounts.ts'

export interface CgroupTree {
  readonly mode: CgroupMode
  /** v1: folder of each hierarchy by controller (co-mounted ones share it); v2: empty. */
  readonly controllers: ReadonlyMap<string, string>
  /** Folders of all hierarchies to create groups in: one per v1 hierarchy, or the v2 root alone. */
  readonly roots: readonly string[]
  /** hybrid: the v2 tree without controllers, in which runc makes groups of its own that must be removed too. */
  readonly besides: readonly string[]
  /** Where the v2 tree of a hybrid machine is hidden from us: the plain folder in its place, in which crun makes plain folders for each container. */
  readonly inItsPlace: string | undefined
}

const v1Controllers = new Set(['cpu', 'cpuacct', 'cpuset', 'memory', 'devices', 'freezer', 'blkio', 'pids', 'net_cls', 'net_prio', 'perf_event', 'hugetlb', 'rdma', 'misc'])

const hiddenTree = '/sys/fs/cgroup/unified'

let known: CgroupTree | undefined

export function cgroupTree(): CgroupTree {
  known ??= discover()
  return known
}

function discover(): CgroupTree {
  const entries = mountTable({ under: '/sys/fs/cgroup' })
  const v2 = entries.find((entry) => entry.type === 'cgroup2')
  const v1 = entries.filter((entry) => entry.type === 'cgroup')
  if (v1.length === 0) {
    return { mode: 'v2', controllers: new Map(), roots: [v2?.target ?? '/sys/fs/cgroup'], besides: [], inItsPlace: undefined }
  }
  const controllers = new Map<string, string>()
  for (const entry of v1) {
    for (const option of entry.superOptions) if (v1Controllers.has(option) || option.startsWith('name=')) controllers.set(option, entry.target)
  }
  return { mode: v2 === undefined ? 'v1' : 'hybrid', controllers, roots: [...new Set(controllers.values())], besides: v2 === undefined ? [] : [v2.target], inItsPlace: v2 === undefined ? hiddenTree : undefined }
}

/** Folder of `path` in the hierarchy of `controller`; undefined where the machine lacks the controller. */
export function groupFolder(path: string, controller: string): string | undefined {
  const tree = cgroupTree()
  const root = tree.mode === 'v2' ? tree.roots[0] : tree.controllers.get(controller)
  return root === undefined ? undefined : `${root}/${cleanPath(path)}`
}

/** Folders of `path` in every hierarchy. */
export function groupFolders(path: string): string[] {
  return cgroupTree().roots.map((root) => `${root}/${cleanPath(path)}`)
}

function cleanPath(path: string): string {
  const parts = path.split('/').filter((part) => part !== '')
  if (parts.length === 0 || parts.some((part) => part === '.' || part === '..' || part.includes('\0'))) throw errnoFault('EINVAL', `cgroup path '${path}'`)
  return parts.join('/')
}

export function makeGroup(path: string): void {
  const tree = cgroupTree()
  for (const root of tree.roots) {
    let folder = root
    for (const part of cleanPath(path).split('/')) {
      if (tree.mode === 'v2') enableControllers(folder)
      folder = `${folder}/${part}`
      makeFolder(folder)
      if (root === tree.controllers.get('cpuset')) inheritCpuset(folder)
    }
  }
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder)
  } catch (error) {
    const errno = systemErrorCode(error) ?? 'EIO'
    if (errno !== 'EEXIST') throw errnoFault(errno, `create the cgroup ${folder}`)
  }
}

/** v2: a controller works in a child only when the parent hands it down. One that cannot be (threaded, busy) is left out. */
function enableControllers(folder: string): void {
  const available = readGroupFile(`${folder}/cgroup.controllers`)?.trim().split(' ') ?? []
  const enabled = new Set(readGroupFile(`${folder}/cgroup.subtree_control`)?.trim().split(' ') ?? [])
  for (const controller of available) {
    if (controller === '' || enabled.has(controller)) continue
    try {
      writeFileSync(`${folder}/cgroup.subtree_control`, `+${controller}`)
    } catch (error) {
      if (systemErrorCode(error) === undefined) throw error
    }
  }
}

/** v1: a new cpuset has no CPU and takes no task until it is given some. */
function inheritCpuset(folder: string): void {
  for (const name of ['cpuset.cpus', 'cpuset.mems']) {
    const own = readGroupFile(`${folder}/${name}`)
    if (own === undefined || own.trim() !== '') continue
    const parent = readGroupFile(`${folder}/../${name}`)
    if (parent !== undefined) writeFileSync(`${folder}/${name}`, parent.trim())
  }
}

/** The file's text; undefined when there is no such file (an older kernel, a missing controller). */
export function readGroupFile(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const errno = systemErrorCode(error) ?? 'EIO'
    if (errno === 'ENOENT' || errno === 'ENODEV' || errno === 'EOPNOTSUPP') return undefined
    throw errnoFault(errno, `read ${file}`)
  }
}

export function writeGroupFile(file: string, value: string): void {
  try {
    writeFileSync(file, value)
  } catch (error) {
    throw errnoFault(systemErrorCode(error) ?? 'EIO', `write '${value}' to ${file}`)
  }
}

/** `folder` and all groups below it, deepest first. */
export function groupsBelow(folder: string): string[] {
  if (!existsSync(folder)) return []
  const children = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory())
  return [...children.flatMap((entry) => groupsBelow(`${folder}/${entry.name}`)), folder]
}

export function removeGroup(path: string): void {
  const { inItsPlace } = cgroupTree()
  const besides = cgroupTree().besides.map((root) => `${root}/${cleanPath(path)}`)
  for (const folder of [...groupFolders(path), ...besides]) for (const group of groupsBelow(folder)) removeFolder(group)
  if (inItsPlace !== undefined) rmSync(`${inItsPlace}/${cleanPath(path)}`, { recursive: true, force: true })
}

function removeFolder(group: string): void {
  try {
    rmdirSync(group)
  } catch (error) {
    const errno = systemErrorCode(error) ?? 'EIO'
    if (errno !== 'ENOENT') throw errnoFault(errno, `remove the cgroup ${group}`)
  }
}
