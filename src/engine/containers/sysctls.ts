/** Sysctls that a container may have: those that its own namespaces keep apart from the host's (the same ones that OCI runtimes accept). */
import { Fault } from '#base/fault.ts'
import type { ContainerSpec } from '../contract/containers.ts'
import type { RuntimeFailure } from '../contract/runtime.ts'

const ofIpc: ReadonlySet<string> = new Set(['kernel.msgmax', 'kernel.msgmnb', 'kernel.msgmni', 'kernel.sem', 'kernel.shmall', 'kernel.shmmax', 'kernel.shmmni', 'kernel.shm_rmid_forced'])

/** Names may be written with slashes; then a dot belongs to an interface's name. */
function dotted(name: string): string {
  const separator = name.search(/[./]/)
  return separator >= 0 && name[separator] === '/' ? name.replace(/[./]/g, (character) => (character === '/' ? '.' : '/')) : name
}

/** Ports below 1024 and ping need no capability in a network namespace that is the container's own (as in Docker since 20.10). */
const ownNetworkSysctls: Readonly<Record<string, string>> = { 'net.ipv4.ip_unprivileged_port_start': '0', 'net.ipv4.ping_group_range': '0 2147483647' }

/** What the container's own network namespace starts with. */
export function networkSysctls({ sysctls = {} }: ContainerSpec): Readonly<Record<string, string>> {
  return { ...ownNetworkSysctls, ...Object.fromEntries(Object.entries(sysctls).filter(([name]) => name.startsWith('net.'))) }
}

/** The spec's sysctls, and its domain name, which has no other place in runtime-spec 1.0; `invalidArgument` in runc's words where one would change the host. */
export function checkedSysctls({ sysctls = {}, ipcMode, network, utsMode, domainname }: ContainerSpec): Readonly<Record<string, string>> {
  for (const name of Object.keys(sysctls)) {
    const plain = dotted(name)
    if (ofIpc.has(plain) || plain.startsWith('fs.mqueue.')) {
      if (ipcMode === 'host') refuse(`sysctl "${plain}" is not allowed in the hosts ipc namespace`)
    } else if (plain.startsWith('net.')) {
      if (network?.mode === 'host' || (network?.mode === 'sandbox' && network.netnsPath === 'host')) refuse(`sysctl "${plain}" not allowed in host network namespace`)
    } else if (plain === 'kernel.domainname') {
      if (utsMode === 'host') refuse(`sysctl "${plain}" is not allowed in the hosts uts namespace`)
    } else if (plain === 'kernel.hostname') refuse(`sysctl "${plain}" conflicts with OCI field "hostname"`)
    else refuse(`sysctl "${plain}" is not in a separate kernel namespace`)
  }
  return domainname && utsMode !== 'host' ? { 'kernel.domainname': domainname, ...sysctls } : sysctls
}

function refuse(message: string): never {
  const runtimeFailure: RuntimeFailure = { kind: 'other', runtimeMessage: message }
  throw new Fault('invalidArgument', message, { details: { runtimeFailure } })
}
