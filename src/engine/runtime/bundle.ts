/**
 * What a container's runtime keeps on disk: one folder per id below the run directory, gone after a reboot as the
 * container is. `config.json` is the OCI bundle, the rest belongs to conmon and to us.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Fault, systemErrorCode } from '#base/fault.ts'
import { readTextIfThere } from '#base/files.ts'
import { isRecord } from '#base/json.ts'
import type { CreateRequest } from '../contract/runtime.ts'
import type { IdMappingSpec, RuntimeSpec } from '../contract/runtime-spec.ts'
import type { RuntimeMapping } from './stream-owner.ts'

export interface BundlePaths {
  readonly folder: string
  readonly config: string
  /** What we must know again after a restart and the OCI spec does not say. */
  readonly facts: string
  readonly initPid: string
  /** conmon's attach socket (SEQPACKET) and control fifo. */
  readonly attach: string
  readonly control: string
  /** conmon writes the exit code into a file named after the container, in the folder it is told: this one. */
  readonly exit: string
  /** Made by conmon when the kernel killed a process of the container for want of memory. */
  readonly oom: string
  /** The same after it was told of. */
  readonly toldOom: string
  readonly execs: string
}

export function bundlePaths(root: string, id: string): BundlePaths {
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(id)) throw new Fault('invalidArgument', `container id '${id}' (letters, digits, _ . -)`)
  const folder = join(root, id)
  return {
    folder,
    config: join(folder, 'config.json'),
    facts: join(folder, 'berth.json'),
    initPid: join(folder, 'pid'),
    attach: join(folder, 'attach'),
    control: join(folder, 'ctl'),
    exit: join(folder, id),
    oom: join(folder, 'oom'),
    toldOom: join(folder, 'oom.told'),
    execs: join(folder, 'exec'),
  }
}

export interface BundleFacts {
  readonly formatVersion: 1
  readonly cgroupsPath: string
  readonly stdin: CreateRequest['stdin']
  readonly terminal: boolean
  readonly logPath: string | undefined
  /** Of the container's user namespace; absent: it has the machine's. */
  readonly mapping?: RuntimeMapping
}

/** Lives below the run directory, which does not outlast the machine's uptime: no fsync. */
export async function writeBundle(paths: BundlePaths, spec: RuntimeSpec, facts: BundleFacts): Promise<void> {
  try {
    await mkdir(paths.folder, { mode: 0o700 })
  } catch (error) {
    if (systemErrorCode(error) === 'EEXIST') throw new Fault('alreadyExists', `a container has its bundle at ${paths.folder} already`)
    throw error
  }
  await Promise.all([writeFile(paths.config, JSON.stringify(spec), { mode: 0o600 }), writeFile(paths.facts, JSON.stringify(facts), { mode: 0o600 })])
}

/** undefined when there is no such bundle, or only half of one (a crash while it was written). */
export async function readFacts(paths: BundlePaths): Promise<BundleFacts | undefined> {
  const text = await readTextIfThere(paths.facts)
  if (text === undefined || text === '') return undefined
  const parsed: unknown = JSON.parse(text)
  if (typeof parsed !== 'object' || parsed === null || !('formatVersion' in parsed) || !('cgroupsPath' in parsed)) return undefined
  const { formatVersion, cgroupsPath } = parsed
  if (formatVersion !== 1 || typeof cgroupsPath !== 'string') throw new Fault('internal', `${paths.facts} has format ${String(formatVersion)}; this version of Berth reads format 1`)
  const stdin = 'stdin' in parsed && (parsed.stdin === 'once' || parsed.stdin === 'open') ? parsed.stdin : 'none'
  const mapping = 'mapping' in parsed && isRecord(parsed.mapping) ? { mapping: { uidMappings: rangesOf(parsed.mapping['uidMappings']), gidMappings: rangesOf(parsed.mapping['gidMappings']) } } : {}
  const logPath = 'logPath' in parsed && typeof parsed.logPath === 'string' ? parsed.logPath : undefined
  return { formatVersion, cgroupsPath, stdin, terminal: 'terminal' in parsed && parsed.terminal === true, logPath, ...mapping }
}

function rangesOf(value: unknown): readonly IdMappingSpec[] {
  return Array.isArray(value) ? value.filter(isRecord).map((range) => ({ containerID: Number(range['containerID']), hostID: Number(range['hostID']), size: Number(range['size']) })) : []
}

export async function removeFolder(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true })
}
