/** From a pod's container to what the runtime is asked to create. Pure: environment, mounts and image are resolved already. */
import { Fault } from '#base/fault.ts'
import type { Container, EphemeralContainer } from '../../api/core/v1/container.ts'
import type { Pod } from '../../api/core/v1/pod.ts'
import type { ContainerConfig, ContainerMount, ContainerSecurity, DnsConfig, HostPort, RuntimeImage, SandboxConfig } from '../../contract/runtime.ts'
import { expand } from './env.ts'
import { cgroupParentOf, containerResources, qosClassOf } from './resources.ts'

/** Labels by which kubectl plugins and CRI tools know a container's pod. */
function podLabels(pod: Pod): Record<string, string> {
  const { name, namespace, uid } = pod.metadata
  return { 'io.kubernetes.pod.name': name, 'io.kubernetes.pod.namespace': namespace, 'io.kubernetes.pod.uid': uid }
}

export interface ContainerParts {
  readonly attempt: number
  readonly image: RuntimeImage
  readonly env: readonly { readonly name: string; readonly value: string }[]
  readonly mounts: readonly ContainerMount[]
  readonly memoryCapacityBytes: number
}

export function containerConfig(pod: Pod, container: Container | EphemeralContainer, parts: ContainerParts): ContainerConfig {
  const values = new Map(parts.env.map(({ name, value }) => [name, value]))
  const expanded = (list: readonly string[] | undefined): readonly string[] | undefined => (list === undefined || list.length === 0 ? undefined : list.map((text) => expand(text, (name) => values.get(name))))
  return {
    name: container.name,
    attempt: parts.attempt,
    image: parts.image.id,
    imageReference: container.image ?? '',
    command: expanded(container.command),
    args: expanded(container.args),
    ...(container.workingDir === undefined ? {} : { workingDir: container.workingDir }),
    env: parts.env,
    mounts: parts.mounts,
    resources: containerResources(container, qosClassOf(pod), parts.memoryCapacityBytes),
    security: containerSecurity(pod, container, parts.image),
    tty: container.tty === true,
    stdin: container.stdin === true,
    stdinOnce: container.stdinOnce === true,
    logPath: `${container.name}/${parts.attempt}.log`,
    labels: { ...podLabels(pod), 'io.kubernetes.container.name': container.name },
    annotations: { 'io.kubernetes.container.restartCount': String(parts.attempt), 'io.kubernetes.container.terminationMessagePath': container.terminationMessagePath },
    ...(container.lifecycle?.stopSignal === undefined ? {} : { stopSignal: container.lifecycle.stopSignal }),
  }
}

function containerSecurity(pod: Pod, container: Container | EphemeralContainer, image: RuntimeImage): ContainerSecurity {
  const own = container.securityContext ?? {}
  const shared = pod.spec.securityContext ?? {}
  const runAsUser = own.runAsUser ?? shared.runAsUser
  const nonRoot = own.runAsNonRoot ?? shared.runAsNonRoot
  if (nonRoot === true) checkNonRoot(container.name, runAsUser, image)
  const privileged = own.privileged === true
  const groups = [...(shared.supplementalGroups ?? []), ...(shared.fsGroup === undefined ? [] : [shared.fsGroup])]
  const runAsGroup = own.runAsGroup ?? shared.runAsGroup
  const profile = own.seccompProfile ?? shared.seccompProfile
  return {
    privileged,
    readOnlyRootFilesystem: own.readOnlyRootFilesystem === true,
    noNewPrivileges: own.allowPrivilegeEscalation === false && !privileged,
    ...(runAsUser === undefined ? {} : { runAsUser }),
    ...(runAsGroup === undefined ? {} : { runAsGroup }),
    supplementalGroups: groups,
    capabilities: { add: own.capabilities?.add ?? [], drop: own.capabilities?.drop ?? [] },
    seccomp: profile?.type === 'Localhost' ? { type: 'Localhost', path: profile.localhostProfile ?? '' } : { type: profile?.type === 'Unconfined' || privileged ? 'Unconfined' : 'RuntimeDefault' },
    unmaskedProc: own.procMount === 'Unmasked' || privileged,
  }
}

function checkNonRoot(name: string, runAsUser: number | undefined, { user }: RuntimeImage): void {
  if (runAsUser !== undefined) {
    if (runAsUser === 0) throw new Fault('invalidArgument', `container's runAsUser breaks non-root policy (container: ${name})`)
    return
  }
  if (user === undefined || ('uid' in user && user.uid === 0)) throw new Fault('invalidArgument', `container has runAsNonRoot and image will run as root (container: ${name})`)
  if ('name' in user) throw new Fault('invalidArgument', `container has runAsNonRoot and image has non-numeric user (${user.name}), cannot verify user is non-root (container: ${name})`)
}

export interface SandboxParts {
  readonly attempt: number
  readonly logDirectory: string
  readonly clusterDns: { readonly addresses: readonly string[]; readonly domain: string } | undefined
}

export function sandboxConfig(pod: Pod, { attempt, logDirectory, clusterDns }: SandboxParts): SandboxConfig {
  const { spec, metadata } = pod
  const dns = dnsConfig(pod, clusterDns)
  return {
    pod: { namespace: metadata.namespace, name: metadata.name, uid: metadata.uid },
    attempt,
    hostname: hostnameOf(pod),
    labels: { ...metadata.labels, ...podLabels(pod) },
    annotations: { ...metadata.annotations },
    hostNetwork: spec.hostNetwork === true,
    hostPid: spec.hostPID === true,
    hostIpc: spec.hostIPC === true,
    shareProcessNamespace: spec.shareProcessNamespace === true,
    ...(dns === undefined ? {} : { dns }),
    sysctls: Object.fromEntries((spec.securityContext?.sysctls ?? []).map(({ name, value }) => [name, value])),
    logDirectory,
    cgroupParent: cgroupParentOf(pod),
    hostPorts: spec.hostNetwork === true ? [] : hostPorts(pod),
  }
}

export function hostnameOf({ spec, metadata }: Pod): string {
  return (spec.hostname ?? metadata.name).slice(0, 63).replace(/[-.]+$/, '')
}

function hostPorts({ spec }: Pod): HostPort[] {
  return [...(spec.initContainers ?? []), ...spec.containers].flatMap(({ ports = [] }) =>
    ports.flatMap(({ hostPort, containerPort, protocol, hostIP }) => {
      if (hostPort === undefined || hostPort === 0) return []
      return [{ hostPort, containerPort, protocol, ...(hostIP === undefined || hostIP === '' || hostIP === '0.0.0.0' ? {} : { hostIp: hostIP }) }]
    }),
  )
}

/** Kubernetes, "DNS for Services and Pods", dnsPolicy. Undefined: the node's own resolv.conf. */
function dnsConfig({ spec, metadata }: Pod, clusterDns: SandboxParts['clusterDns']): DnsConfig | undefined {
  const own = spec.dnsConfig
  const usesCluster = spec.dnsPolicy === 'ClusterFirstWithHostNet' || (spec.dnsPolicy === 'ClusterFirst' && spec.hostNetwork !== true)
  if (spec.dnsPolicy !== 'None' && (!usesCluster || clusterDns === undefined)) return own === undefined ? undefined : merged({ nameservers: [], searches: [], options: [] }, own)
  const domain = clusterDns?.domain ?? 'cluster.local'
  const base: DnsConfig = usesCluster
    ? { nameservers: clusterDns?.addresses ?? [], searches: [`${metadata.namespace}.svc.${domain}`, `svc.${domain}`, domain], options: ['ndots:5'] }
    : { nameservers: [], searches: [], options: [] }
  return own === undefined ? base : merged(base, own)
}

function merged(base: DnsConfig, own: NonNullable<Pod['spec']['dnsConfig']>): DnsConfig {
  const written = (own.options ?? []).map(({ name = '', value }) => (value === undefined ? name : `${name}:${value}`))
  const overridden = new Set((own.options ?? []).map(({ name }) => name))
  return {
    nameservers: [...new Set([...base.nameservers, ...(own.nameservers ?? [])])],
    searches: [...new Set([...base.searches, ...(own.searches ?? [])])],
    options: [...base.options.filter((option) => !overridden.has(option.split(':')[0])), ...written],
  }
}

/** `/etc/hosts` of a pod with its own network. */
export function hostsFile(pod: Pod, ips: readonly string[], domain: string): string {
  const { spec, metadata } = pod
  const hostname = hostnameOf(pod)
  const fqdn = spec.subdomain === undefined ? [] : [`${hostname}.${spec.subdomain}.${metadata.namespace}.svc.${domain}`]
  const lines = [
    '# Kubernetes-managed hosts file.',
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::0\tip6-localnet',
    'fe00::0\tip6-mcastprefix',
    'fe00::1\tip6-allnodes',
    'fe00::2\tip6-allrouters',
    ...ips.map((ip) => [ip, ...fqdn, hostname].join('\t')),
  ]
  if ((spec.hostAliases ?? []).length > 0) lines.push('', '# Entries added by HostAliases.')
  for (const { ip, hostnames = [] } of spec.hostAliases ?? []) lines.push([ip, ...hostnames].join('\t'))
  return `${lines.join('\n')}\n`
}
