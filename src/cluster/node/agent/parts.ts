/** What the parts of the node agent share: ports, options, and the small services that are made once per agent. */
import type { Clock } from '#base/clock.ts'
import type { Logger } from '#base/log.ts'
import type { Gate } from '#base/task.ts'
import type { Pod } from '../../api/core/v1/pod.ts'
import type { Service } from '../../api/core/v1/service.ts'
import type { Informer } from '../../client/informer.ts'
import type { Client } from '../../contract/client.ts'
import type { PodRuntime } from '../../contract/runtime.ts'
import type { NodeFiles, NodeNetwork } from '../ports.ts'
import type { Recorder } from './recorder.ts'
import type { References } from './references.ts'

export interface NodeIdentity {
  readonly name: string
  /** Primary address first. */
  readonly addresses: readonly string[]
}

export interface AgentFolders {
  /** Pods' volumes and files: `/var/lib/berth/kubelet`. */
  readonly root: string
  /** Upstream's `/var/log/pods`. */
  readonly logs: string
}

export interface ClusterDns {
  readonly addresses: readonly string[]
  readonly domain: string
}

export interface Parts {
  readonly node: NodeIdentity
  readonly folders: AgentFolders
  readonly clusterDns: ClusterDns | undefined
  readonly client: Client
  readonly runtime: PodRuntime
  readonly files: NodeFiles
  readonly network: NodeNetwork
  readonly clock: Clock
  readonly log: Logger
  readonly recorder: Recorder
  readonly references: References
  readonly services: Informer<Service>
  /** At most so many sandboxes and containers are started at a time. */
  readonly starts: Gate
  readonly pulls: Gate
  readonly memoryCapacityBytes: number
  readonly allocatable: Readonly<Record<string, string>>
}

export function podFolder({ folders }: Parts, pod: Pod): string {
  return `${folders.root}/pods/${pod.metadata.uid}`
}

/** Upstream's layout, which log collectors know. */
export function logFolder({ folders }: Parts, { metadata }: Pod): string {
  return `${folders.logs}/${metadata.namespace}_${metadata.name}_${metadata.uid}`
}
