/** What this machine can do. Facts only; whether they suffice is the caller's decision. */
import { readFile } from 'node:fs/promises'
import { availableParallelism, arch, release, totalmem } from 'node:os'
import { systemErrorCode } from '#base/fault.ts'
import type { Cgroups } from '../contract/cgroups.ts'
import type { KernelFacts } from '../contract/kernel.ts'
import type { Processes } from '../contract/processes.ts'
import { findExecutable } from './executables.ts'

/** capabilities(7), in the order of their numbers. */
const capabilityNames = (
  'CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER ' +
  'SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP ' +
  'MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE'
).split(' ')

const searchPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

async function readOptional(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error
    return ''
  }
}

function optionalExecutable(name: string): string | undefined {
  try {
    return findExecutable(name, searchPath)
  } catch {
    return undefined
  }
}

/** Names of the capabilities that the permitted set of `status` (/proc/self/status) lacks. */
export function missingCapabilities(status: string): string[] {
  const mask = BigInt(`0x${/^CapPrm:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`)
  return capabilityNames.filter((_, number) => (mask & (1n << BigInt(number))) === 0n)
}

async function overlayThere(processes: Processes): Promise<boolean> {
  const known = async (): Promise<boolean> => /\toverlay$/m.test(await readOptional('/proc/filesystems'))
  if (await known()) return true
  const modprobe = optionalExecutable('modprobe')
  if (modprobe === undefined) return false
  await processes.run([modprobe, 'overlay'])
  return known()
}

/** crun refuses a hybrid tree it can see; inside the run-time mount namespace (enter-namespace.sh) the v2 part is hidden and the mode reads `v1`. */
async function chooseRuntime(parts: { readonly processes: Processes; readonly mode: KernelFacts['cgroupMode']; readonly crun: string | undefined; readonly runc: string | undefined }): Promise<KernelFacts['runtime']> {
  const useCrun = parts.crun !== undefined && parts.mode !== 'hybrid'
  const path = useCrun ? parts.crun : parts.runc
  if (path === undefined) return undefined
  const answer = await parts.processes.run([path, '--version'], { timeoutMs: 10_000 })
  const version = /version (\S+)/.exec(answer.stdout.toString('utf8'))?.[1] ?? 'unknown'
  return { name: useCrun ? 'crun' : 'runc', path, version }
}

export async function probe(parts: { readonly processes: Processes; readonly cgroups: Cgroups }): Promise<KernelFacts> {
  const status = await readOptional('/proc/self/status')
  const limits = await readOptional('/proc/self/limits')
  const mode = parts.cgroups.mode
  const crun = optionalExecutable('crun')
  const runc = optionalExecutable('runc')
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(limits)?.[1] ?? '1024'
  return {
    kernelRelease: release(),
    architecture: arch(),
    cgroupMode: mode,
    cgroupAbilities: await parts.cgroups.abilities(),
    cpus: availableParallelism(),
    memoryBytes: BigInt(totalmem()),
    overlay: await overlayThere(parts.processes),
    seccomp: /^Seccomp:/m.test(status),
    apparmor: (await readOptional('/sys/module/apparmor/parameters/enabled')).startsWith('Y'),
    missingCapabilities: missingCapabilities(status),
    conmon: optionalExecutable('conmon'),
    crun,
    runc,
    runtime: await chooseRuntime({ processes: parts.processes, mode, crun, runc }),
    openFilesHardLimit: hard === 'unlimited' ? 2n ** 63n - 1n : BigInt(hard),
  }
}
