/** Linux capabilities (capabilities(7)): the set a container starts with and how `--cap-add`, `--cap-drop` and `--privileged` change it. */
import { Fault } from '#base/fault.ts'

export const allCapabilities: readonly string[] =
  'CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE'
    .split(' ')
    .map((name) => `CAP_${name}`)

/** What Docker gives every container. */
export const defaultCapabilities: readonly string[] =
  'CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE'.split(' ').map((name) => `CAP_${name}`)

export interface CapabilityRequest {
  readonly privileged: boolean
  readonly add: readonly string[]
  readonly drop: readonly string[]
}

function normalised(names: readonly string[], option: string): Set<string> {
  const found = new Set<string>()
  for (const name of names) {
    const upper = name.toUpperCase()
    const full = upper === 'ALL' || upper.startsWith('CAP_') ? upper : `CAP_${upper}`
    if (full !== 'ALL' && !allCapabilities.includes(full)) throw new Fault('invalidArgument', `invalid ${option}: unknown capability: "${full}"`)
    found.add(full)
  }
  return found
}

/** The resulting set, in the kernel's order, without those that this machine cannot give (`unavailable`). */
export function capabilitiesOf(request: CapabilityRequest, unavailable: ReadonlySet<string>): string[] {
  const add = normalised(request.add, 'CapAdd')
  const drop = normalised(request.drop, 'CapDrop')
  const given = (name: string): boolean => {
    if (request.privileged) return true
    // A name that is added wins over `drop ALL`; one that is dropped wins over `add ALL`.
    if (drop.has(name)) return false
    if (add.has(name) || add.has('ALL')) return true
    return !drop.has('ALL') && defaultCapabilities.includes(name)
  }
  return allCapabilities.filter((name) => given(name) && !unavailable.has(name))
}
