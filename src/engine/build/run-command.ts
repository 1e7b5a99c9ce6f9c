/**
 * One RUN: a container that lives for one command on a root file system that is mounted already. It goes straight to the
 * runtime, because it has no name, no log and no restart; the spec is the one that every container gets.
 */
import { lstat, rmdir, unlink } from 'node:fs/promises'
import { dirname, join, posix, relative } from 'node:path'
import { Fault, systemErrorCode } from '#base/fault.ts'
import type { ConfinedJobs } from '#linux/contract/confined.ts'
import { folderTimesJob, type FolderTimes } from '#oci/layer/jobs.ts'
import type { ContainerSpec, ResolvedMount } from '../contract/containers.ts'
import type { Networks } from '../contract/networks.ts'
import type { ContainerExit, Runtime } from '../contract/runtime.ts'
import { devicesOf } from '../containers/devices.ts'
import type { HostFacts } from '../containers/host.ts'
import { lookUpIdentity, resolveInRoot } from '../containers/identity.ts'
import { hostsText, resolvConfText, writeNetworkFiles, type NetworkFiles } from '../containers/network-files.ts'
import { makeFolders } from '../containers/own-folders.ts'
import { runtimeSpecOf } from '../containers/spec.ts'
import { checkUserNamespace } from '../userns/conflicts.ts'
import type { Owner, Remap } from '../userns/remap.ts'

export interface CommandRunnerOptions {
  readonly runtime: Pick<Runtime, 'create' | 'start' | 'attach' | 'delete' | 'onExit'>
  readonly networks: Networks
  readonly confined: ConfinedJobs
  readonly host: HostFacts
  /** Path of the instance's cgroups, e.g. `/berth`. */
  readonly cgroupRoot: string
  /** Commands run remapped, on a root that is mounted so. Absent: with the machine's ids. */
  readonly remap?: Remap | undefined
}

export interface CommandRequest {
  /** 64 hex digits. */
  readonly id: string
  readonly rootfs: string
  /** An empty folder of the caller's, for hosts and resolv.conf. */
  readonly folder: string
  readonly argv: readonly string[]
  readonly env: readonly string[]
  readonly workingDir: string
  readonly user: string
  /** `default`, `none`, `host`, or a network's name. */
  readonly network: string
  readonly mounts: readonly (ResolvedMount & { readonly options?: readonly string[] })[]
  /** Of the machine that it sees; undefined: its id, which a variable tells then, too. */
  readonly hostname: string | undefined
  /** Below the instance's cgroup; undefined: `build`. */
  readonly cgroupParent: string | undefined
  /** What the kernel's file systems are mounted on stays behind where it was missing; else nothing does. */
  readonly mountPointsStay: boolean
  readonly limits: Pick<ContainerSpec, 'resources' | 'shmSizeBytes' | 'extraHosts'>
  /** All rights over this machine. */
  readonly privileged: boolean
  readonly onOutput: (data: Buffer, channel: 'stdout' | 'stderr') => void
  readonly signal: AbortSignal
}

/** Answers the exit code. Nothing of the container is left when it returns, nor of the mount points that the runtime made but for those that are to stay. */
export async function runCommand(options: CommandRunnerOptions, request: CommandRequest): Promise<number> {
  const { runtime, networks } = options
  if (request.signal.aborted) throw new Fault('canceled', 'the build was canceled')
  await makeFolder(request.rootfs, request.workingDir, options.remap?.root)
  const stubs = await missingMountPoints(request)
  try {
    return await runToEnd(options, request)
  } finally {
    await Promise.all([runtime.delete(request.id, { force: true }), networks.closeSandbox(request.id)])
    await removeStubs(options.confined, request.rootfs, stubs)
  }
}

async function runToEnd(options: CommandRunnerOptions, request: CommandRequest): Promise<number> {
  const { runtime } = options
  const exit = Promise.withResolvers<ContainerExit>()
  const abort = (): void => exit.reject(new Fault('canceled', 'the build was canceled'))
  using _listening = runtime.onExit((ended) => {
    if (ended.id === request.id) exit.resolve(ended)
  })
  const spec = containerSpec(request)
  checkUserNamespace(spec, options.remap)
  const { netnsPath, usernsPath, files } = await openNetwork(options, request, spec)
  const effective = { args: request.argv, entrypoint: null, command: request.argv, env: request.env, workingDir: request.workingDir, user: request.user, tty: false, labels: {}, hostname: hostnameOf(request), stopSignal: 'SIGKILL', exposedPorts: [] }
  const [identity, devices] = await Promise.all([lookUpIdentity(request.rootfs, request.user, []), devicesOf(spec)])
  await runtime.create({
    id: request.id,
    stdin: 'none',
    logPath: undefined,
    spec: runtimeSpecOf({ spec, effective, identity, rootfs: request.rootfs, mounts: request.mounts, files, netnsPath, ...(usernsPath === undefined || options.remap === undefined ? {} : { userNamespace: { path: usernsPath, mapping: options.remap.mapping } }), joined: {}, cgroupsPath: `${options.cgroupRoot}/${request.cgroupParent ?? 'build'}/${request.id}`, devices, hidesHostname: request.hostname !== undefined, initPath: undefined, host: options.host }),
  })
  request.signal.addEventListener('abort', abort, { once: true })
  try {
    using attachment = await runtime.attach(request.id, { write: (channel, data) => request.onOutput(data, channel) })
    await runtime.start(request.id)
    if (request.signal.aborted) abort()
    const { exitCode } = await exit.promise
    await attachment.closed
    return exitCode
  } finally {
    request.signal.removeEventListener('abort', abort)
  }
}

function hostnameOf({ hostname, id }: CommandRequest): string {
  return hostname ?? id.slice(0, 12)
}

function containerSpec(request: CommandRequest): ContainerSpec {
  return { namespace: 'docker', image: '', ...request.limits, ...(request.network === 'host' ? { network: { mode: 'host' } } : {}), ...(request.privileged ? { security: { privileged: true } } : {}) }
}

async function openNetwork(options: CommandRunnerOptions, request: CommandRequest, spec: ContainerSpec): Promise<{ readonly netnsPath: string | undefined; readonly usernsPath?: string; readonly files: NetworkFiles }> {
  const { networks, remap } = options
  const files = { hosts: join(request.folder, 'hosts'), hostname: join(request.folder, 'hostname'), resolvConf: join(request.folder, 'resolv.conf') }
  const hostname = hostnameOf(request)
  if (request.network === 'host') {
    await writeNetworkFiles(files, { hosts: hostsText(hostname, spec, []), hostname: `${hostname}\n` })
    return { netnsPath: undefined, files: { ...files, resolvConf: '/etc/resolv.conf' } }
  }
  if (request.network.startsWith('container:')) throw new Fault('invalidArgument', `build network ${request.network} is not supported: expected default, none, host or a network's name`)
  const { netnsPath, usernsPath } = await networks.openSandbox(request.id, remap === undefined ? {} : { owner: { mapping: remap.mapping } })
  const name = request.network === 'default' || request.network === '' ? 'bridge' : request.network
  const endpoints = name === 'none' ? [] : [await networks.connect(request.id, (await networks.get(name)).id, {})]
  const resolver = await networks.resolver(request.id)
  await writeNetworkFiles(files, { hosts: hostsText(hostname, spec, endpoints), hostname: `${hostname}\n`, resolvConf: resolvConfText(undefined, resolver) }, remap?.root)
  return { netnsPath, ...(usernsPath === undefined ? {} : { usernsPath }), files }
}

/** Makes a folder and its parents (mode 755, root's) inside a root in which nothing runs. Answers whether it was missing. `owner`: who root is there, if not we. */
export async function makeFolder(rootfs: string, path: string, owner?: Owner): Promise<boolean> {
  const host = await resolveInRoot(rootfs, path)
  if (!host.startsWith(rootfs)) throw new Fault('internal', `${path} leads out of the root`)
  try {
    return await makeFolders(host, owner, 0o755)
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'EEXIST' || code === 'ENOTDIR') throw new Fault('invalidArgument', `cannot make the folder ${path}: a file stands in its way`)
    throw error
  }
}

interface Stubs {
  /** Host paths that did not exist, parents first. */
  readonly missing: readonly string[]
  /** Folders that exist and will be touched, with their times. */
  readonly parents: readonly FolderTimes[]
}

const kernelMountPoints = ['/proc', '/sys', '/dev']
const ownMountPoints = ['/etc/hosts', '/etc/hostname', '/etc/resolv.conf']

/** The runtime makes what it mounts on. An image must not notice, so we remember what was not there. */
async function missingMountPoints({ rootfs, mounts, mountPointsStay }: CommandRequest): Promise<Stubs> {
  const missing: string[] = []
  const parents = new Map<string, FolderTimes>()
  for (const point of [...(mountPointsStay ? [] : kernelMountPoints), ...ownMountPoints, ...mounts.map(({ target }) => target).filter((target) => !target.startsWith('/dev/'))]) {
    const parts = posix.normalize(point).split('/').filter((part) => part !== '')
    for (let count = 1; count <= parts.length; count += 1) {
      const path = await resolveInRoot(rootfs, `/${parts.slice(0, count).join('/')}`)
      if (missing.includes(path) || (await exists(path))) continue
      missing.push(path)
      const parent = dirname(path)
      if (parents.has(parent) || missing.includes(parent)) continue
      const { atimeNs, mtimeNs } = await lstat(parent, { bigint: true })
      if (parent !== rootfs) parents.set(parent, { path: Buffer.from(`/${relative(rootfs, parent)}`), accessedNs: atimeNs, modifiedNs: mtimeNs })
    }
  }
  return { missing, parents: [...parents.values()] }
}

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path)
    return true
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return false
    throw error
  }
}

/** Takes away mount points that are still as the runtime made them: empty. */
async function removeStubs(confined: ConfinedJobs, rootfs: string, { missing, parents }: Stubs): Promise<void> {
  let removed = 0
  for (const path of [...missing].reverse()) {
    try {
      const stats = await lstat(path)
      if (stats.isDirectory()) await rmdir(path)
      else if (stats.isFile() && stats.size === 0) await unlink(path)
      else continue
      removed += 1
    } catch (error) {
      const code = systemErrorCode(error)
      if (code !== 'ENOENT' && code !== 'ENOTEMPTY' && code !== 'ENOTDIR') throw error
    }
  }
  // When everything that was made is gone again, the folders are as they were, and so are their times.
  if (removed < missing.length || parents.length === 0) return
  await confined.run<readonly FolderTimes[], void>(rootfs, folderTimesJob, parents)
}
