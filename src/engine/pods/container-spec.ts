/** From a pod's container to the engine's: pure translation, and the note in `extension` by which it is found again. */
import { join } from 'node:path'
import type { ContainerConfig, ContainerMount as PodMount, ContainerResources as PodResources, PodIdentity } from '#cluster/contract/runtime.ts'
import type { ContainerMount, ContainerResources, ContainerSecurity, ContainerSpec } from '../contract/containers.ts'
import type { SeccompSpec } from '../contract/runtime-spec.ts'
import type { SandboxRecord } from './sandbox-record.ts'
import type { SandboxPaths } from './sandboxes.ts'

/** What the engine's container does not say by itself. */
export interface PodNote {
  readonly sandboxId: string
  readonly pod: PodIdentity
  readonly name: string
  readonly attempt: number
  readonly imageReference: string
  readonly annotations: Readonly<Record<string, string>>
}

export interface SpecInput {
  readonly sandbox: SandboxRecord
  readonly paths: SandboxPaths
  readonly config: ContainerConfig
  /** USER of the image; used where only the group is overridden. */
  readonly imageUser: string
  readonly seccomp: SeccompSpec | 'unconfined' | undefined
}

/** Unique per (sandbox, name, attempt), so that the engine's own check of names refuses a second one. */
export function containerName(sandbox: SandboxRecord, config: Pick<ContainerConfig, 'name' | 'attempt'>): string {
  return `k8s_${config.name}_${sandbox.pod.name}_${sandbox.pod.namespace}_${sandbox.pod.uid}_${sandbox.attempt}_${config.attempt}`
}

export function containerSpec(input: SpecInput): ContainerSpec {
  const { sandbox, paths, config } = input
  const note: PodNote = { sandboxId: sandbox.id, pod: sandbox.pod, name: config.name, attempt: config.attempt, imageReference: config.imageReference, annotations: config.annotations }
  const user = userOf(input)
  return {
    namespace: 'k8s',
    name: containerName(sandbox, config),
    image: config.image,
    process: {
      ...(config.command === undefined ? {} : { entrypoint: config.command }),
      ...(config.args === undefined ? {} : { command: config.args }),
      env: config.env.map(({ name, value }) => `${name}=${value}`),
      ...(config.workingDir === undefined ? {} : { workingDir: config.workingDir }),
      ...(user === undefined ? {} : { user }),
      tty: config.tty,
      stdin: !config.stdin ? 'none' : config.stdinOnce ? 'once' : 'open',
    },
    hostname: sandbox.hostname,
    labels: config.labels,
    mounts: mountsOf(input),
    network: { mode: 'sandbox', netnsPath: sandbox.hostNetwork ? 'host' : paths.net, hostsPath: paths.hosts, resolvConfPath: paths.resolvConf, ...(sandbox.hostNetwork ? {} : { hostnamePath: paths.hostname }) },
    restart: { name: 'no' },
    ...(config.stopSignal === undefined ? {} : { stopSignal: config.stopSignal }),
    resources: resourcesOf(config.resources),
    security: securityOf(input),
    pidMode: sandbox.hostPid ? 'host' : 'private',
    ipcMode: sandbox.hostIpc ? 'host' : { path: paths.ipc },
    utsMode: sandbox.hostNetwork ? 'host' : { path: paths.uts },
    logPath: join(sandbox.logDirectory, config.logPath),
    cgroupParent: sandbox.cgroupParent,
    extension: { pod: note },
  }
}

function userOf({ config, imageUser }: SpecInput): string | undefined {
  const { runAsUser, runAsGroup } = config.security
  if (runAsUser === undefined && runAsGroup === undefined) return undefined
  const user = runAsUser === undefined ? (imageUser.split(':')[0] || '0') : String(runAsUser)
  // A user given by number alone runs in group 0 unless told otherwise, as upstream has it.
  return runAsGroup === undefined ? user : `${user}:${runAsGroup}`
}

const propagations: Readonly<Record<PodMount['propagation'], string>> = { private: 'rprivate', hostToContainer: 'rslave', bidirectional: 'rshared' }

function mountsOf({ sandbox, paths, config }: SpecInput): ContainerMount[] {
  const mounts: ContainerMount[] = config.mounts.map((mount) => ({ type: 'bind', source: mount.hostPath, target: mount.containerPath, readonly: mount.readOnly, propagation: propagations[mount.propagation] }))
  if (!sandbox.hostIpc && !config.mounts.some(({ containerPath }) => containerPath === '/dev/shm')) mounts.push({ type: 'bind', source: paths.shm, target: '/dev/shm' })
  return mounts
}

export function resourcesOf(resources: PodResources): ContainerResources {
  const memory = resources.memoryLimitBytes
  return {
    ...(resources.cpuShares ? { cpuShares: resources.cpuShares } : {}),
    ...(resources.cpuQuotaUs ? { cpuQuotaUs: resources.cpuQuotaUs, cpuPeriodUs: resources.cpuPeriodUs || 100_000 } : {}),
    // A pod's limit leaves no room for swap.
    ...(memory ? { memoryBytes: memory, memorySwapBytes: memory } : {}),
    ...(resources.oomScoreAdj === undefined ? {} : { oomScoreAdj: resources.oomScoreAdj }),
    ...(resources.pidsLimit ? { pidsLimit: resources.pidsLimit } : {}),
  }
}

function securityOf({ config, seccomp }: SpecInput): ContainerSecurity {
  const { security } = config
  return {
    privileged: security.privileged,
    capAdd: security.capabilities.add,
    capDrop: security.capabilities.drop,
    readonlyRootfs: security.readOnlyRootFilesystem,
    noNewPrivileges: security.noNewPrivileges,
    groupAdd: security.supplementalGroups.map(String),
    ...(seccomp === undefined ? {} : { seccomp }),
    ...(security.unmaskedProc ? { maskedPaths: [], readonlyPaths: [] } : {}),
  }
}
