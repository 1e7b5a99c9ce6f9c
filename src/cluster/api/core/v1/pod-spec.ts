/** PodSpec, core/v1: the desired state of a pod. */
import type { Out } from '#schema/vocabulary.ts'
import { bool, dnsLabel, dnsSubdomain, int32, int64, listBy, listOf, mapOf, object, oneOf, string } from '#schema/vocabulary.ts'
import { affinity, toleration, topologySpreadConstraint } from './affinity.ts'
import { container, ephemeralContainer } from './container.ts'
import { localObjectReference } from './object-reference.ts'
import { completePodSpec } from './pod-defaults.ts'
import { resourceList, resourceRequirements } from './resources.ts'
import { podSecurityContext } from './security-context.ts'
import { volume } from './volume.ts'

export const hostAlias = object(
  'core.v1.HostAlias',
  {
    ip: string({ format: 'ip' }).proto(1),
    hostnames: listOf(string()).omitEmpty().proto(2),
  },
)
export interface HostAlias extends Out<typeof hostAlias> {}

export const podDNSConfigOption = object(
  'core.v1.PodDNSConfigOption',
  {
    name: string().omitEmpty().proto(1),
    value: string().optional().proto(2),
  },
)
export interface PodDNSConfigOption extends Out<typeof podDNSConfigOption> {}

export const podDNSConfig = object(
  'core.v1.PodDNSConfig',
  {
    nameservers: listOf(string()).omitEmpty().proto(1),
    searches: listOf(string()).omitEmpty().proto(2),
    options: listOf(podDNSConfigOption).omitEmpty().proto(3),
  },
)
export interface PodDNSConfig extends Out<typeof podDNSConfig> {}

export const podReadinessGate = object(
  'core.v1.PodReadinessGate',
  {
    conditionType: string().proto(1),
  },
)
export interface PodReadinessGate extends Out<typeof podReadinessGate> {}

export const podOS = object(
  'core.v1.PodOS',
  {
    name: oneOf('linux', 'windows').proto(1),
  },
)
export interface PodOS extends Out<typeof podOS> {}

export const podSchedulingGate = object(
  'core.v1.PodSchedulingGate',
  {
    name: string().proto(1),
  },
)
export interface PodSchedulingGate extends Out<typeof podSchedulingGate> {}

export const podResourceClaim = object(
  'core.v1.PodResourceClaim',
  {
    name: string().proto(1),
    resourceClaimName: string().optional().proto(3),
    resourceClaimTemplateName: string().optional().proto(4),
  },
  { retainKeys: true },
)
export interface PodResourceClaim extends Out<typeof podResourceClaim> {}

export const podSchedulingGroup = object(
  'core.v1.PodSchedulingGroup',
  {
    podGroupName: string().optional().proto(1),
  },
)
export interface PodSchedulingGroup extends Out<typeof podSchedulingGroup> {}

export const evictionResponder = object(
  'core.v1.EvictionResponder',
  {
    name: string().proto(1),
    priority: int32().proto(2),
  },
  { atomic: true },
)
export interface EvictionResponder extends Out<typeof evictionResponder> {}

export const podSpec = object(
  'core.v1.PodSpec',
  {
    volumes: listBy(['name'], volume, { patchKey: 'name' }).omitEmpty().proto(1),
    initContainers: listBy(['name'], container, { patchKey: 'name' }).omitEmpty().proto(20),
    containers: listBy(['name'], container, { patchKey: 'name' }).proto(2),
    ephemeralContainers: listBy(['name'], ephemeralContainer, { patchKey: 'name' }).omitEmpty().proto(34),
    restartPolicy: oneOf('Always', 'OnFailure', 'Never').omitEmpty().default('Always').proto(3),
    terminationGracePeriodSeconds: int64().optional().default(30).proto(4),
    activeDeadlineSeconds: int64(1, 2147483647).optional().proto(5),
    dnsPolicy: oneOf('ClusterFirstWithHostNet', 'ClusterFirst', 'Default', 'None').omitEmpty().default('ClusterFirst').proto(6),
    nodeSelector: mapOf(string(), { atomic: true }).omitEmpty().proto(7),
    serviceAccountName: dnsSubdomain().omitEmpty().proto(8),
    serviceAccount: string().omitEmpty().proto(9),
    automountServiceAccountToken: bool().optional().proto(21),
    nodeName: dnsSubdomain().omitEmpty().proto(10),
    hostNetwork: bool().omitEmpty().proto(11),
    hostPID: bool().omitEmpty().proto(12),
    hostIPC: bool().omitEmpty().proto(13),
    shareProcessNamespace: bool().optional().proto(27),
    securityContext: podSecurityContext.optional().default({}).proto(14),
    imagePullSecrets: listBy(['name'], localObjectReference, { patchKey: 'name' }).omitEmpty().proto(15),
    hostname: dnsLabel().omitEmpty().proto(16),
    subdomain: dnsLabel().omitEmpty().proto(17),
    affinity: affinity.optional().proto(18),
    schedulerName: string().omitEmpty().default('default-scheduler').proto(19),
    tolerations: listOf(toleration).omitEmpty().proto(22),
    hostAliases: listBy(['ip'], hostAlias, { patchKey: 'ip' }).omitEmpty().proto(23),
    priorityClassName: string().omitEmpty().proto(24),
    priority: int32().optional().proto(25),
    dnsConfig: podDNSConfig.optional().proto(26),
    readinessGates: listOf(podReadinessGate).omitEmpty().proto(28),
    runtimeClassName: string().optional().proto(29),
    enableServiceLinks: bool().optional().proto(30),
    preemptionPolicy: oneOf('PreemptLowerPriority', 'Never').optional().proto(31),
    overhead: resourceList.omitEmpty().proto(32),
    topologySpreadConstraints: listBy(['topologyKey', 'whenUnsatisfiable'], topologySpreadConstraint, { patchKey: 'topologyKey' }).omitEmpty().proto(33),
    setHostnameAsFQDN: bool().optional().proto(35),
    os: podOS.optional().proto(36),
    hostUsers: bool().optional().proto(37),
    schedulingGates: listBy(['name'], podSchedulingGate, { patchKey: 'name' }).omitEmpty().proto(38),
    resourceClaims: listBy(['name'], podResourceClaim, { patchKey: 'name' }).omitEmpty().proto(39),
    resources: resourceRequirements.optional().proto(40),
    hostnameOverride: string().optional().proto(41),
    schedulingGroup: podSchedulingGroup.optional().proto(43),
    evictionResponders: listBy(['name'], evictionResponder, { patchKey: 'name' }).omitEmpty().proto(44),
  },
  { complete: completePodSpec },
)
export interface PodSpec extends Out<typeof podSpec> {}
