/** What the node tells the cluster about its machine (core/v1 NodeStatus). */
import { existsSync, readFileSync, statfsSync } from 'node:fs'
import { hostname } from 'node:os'
import type { NodeFacts } from '#cluster/node/agent/node-status.ts'
import { serverVersion } from '#cluster/version.ts'
import type { KernelFacts } from '#linux/contract/kernel.ts'
import { advertisedAddress } from '../config/addresses.ts'
import type { Config } from '../config/config.ts'

/** targets.md: 250 pods run on a node of two cores. */
const maxPods = 250
/** Kept for Berth itself. */
const reserved = { cpuMilli: 100, memoryBytes: 256n * 1024n * 1024n }

function firstLine(path: string): string {
  return existsSync(path) ? (readFileSync(path, 'utf8').split('\n')[0] ?? '') : ''
}

function osImage(): string {
  return /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '')?.[1] ?? 'Linux'
}

export function nodeFacts(config: Config, kernel: KernelFacts): NodeFacts {
  const disk = statfsSync(config.paths.state, { bigint: true })
  const diskBytes = disk.bsize * disk.blocks
  const architecture = kernel.architecture === 'x64' ? 'amd64' : kernel.architecture
  const common = { pods: String(maxPods), 'ephemeral-storage': String(diskBytes) }
  return {
    name: config.nodeName,
    hostname: hostname(),
    addresses: [advertisedAddress(config)],
    labels: {
      'kubernetes.io/hostname': config.nodeName,
      'kubernetes.io/os': 'linux',
      'kubernetes.io/arch': architecture,
      'beta.kubernetes.io/os': 'linux',
      'beta.kubernetes.io/arch': architecture,
    },
    podCidr: config.podCidr,
    port: config.kubeletPort,
    capacity: { ...common, cpu: String(kernel.cpus), memory: `${kernel.memoryBytes / 1024n}Ki` },
    allocatable: { ...common, cpu: `${kernel.cpus * 1000 - reserved.cpuMilli}m`, memory: `${(kernel.memoryBytes - reserved.memoryBytes) / 1024n}Ki` },
    info: {
      machineID: firstLine('/etc/machine-id'),
      systemUUID: firstLine('/sys/class/dmi/id/product_uuid'),
      bootID: firstLine('/proc/sys/kernel/random/boot_id'),
      kernelVersion: kernel.kernelRelease,
      osImage: osImage(),
      kubeletVersion: serverVersion.gitVersion,
      kubeProxyVersion: serverVersion.gitVersion,
      operatingSystem: 'linux',
      architecture,
    },
  }
}

/** The machine's own resolvers, for names outside the cluster. One on loopback may itself ask cluster DNS: left out. */
export function upstreamResolvers(): readonly string[] {
  const text = existsSync('/etc/resolv.conf') ? readFileSync('/etc/resolv.conf', 'utf8') : ''
  return text.split('\n').flatMap((line) => /^nameserver\s+(\S+)/.exec(line)?.[1] ?? []).filter((address) => !/^127\.|^::1$/.test(address))
}
