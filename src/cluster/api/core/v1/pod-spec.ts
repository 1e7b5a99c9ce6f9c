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
    ip: string({ format: 'ip' }).proto(1).doc('Address.'),
    hostnames: listOf(string()).omitEmpty().proto(2).doc('Names of the address.'),
  },
  { doc: 'A line for the pod\'s hosts file.' },
)
export interface HostAlias extends Out<typeof hostAlias> {}

export const podDNSConfigOption = object(
  'core.v1.PodDNSConfigOption',
  {
    name: string().omitEmpty().proto(1).doc('Name of the option.'),
    value: string().optional().proto(2).doc('Value of the option.'),
  },
  { doc: 'A resolver option.' },
)
export interface PodDNSConfigOption extends Out<typeof podDNSConfigOption> {}

export const podDNSConfig = object(
  'core.v1.PodDNSConfig',
  {
    nameservers: listOf(string()).omitEmpty().proto(1).doc('Addresses of name servers.'),
    searches: listOf(string()).omitEmpty().proto(2).doc('Domains to search in.'),
    options: listOf(podDNSConfigOption).omitEmpty().proto(3).doc('Resolver options.'),
  },
  { doc: 'DNS settings in addition to those of the policy.' },
)
export interface PodDNSConfig extends Out<typeof podDNSConfig> {}

export const podReadinessGate = object(
  'core.v1.PodReadinessGate',
  {
    conditionType: string().proto(1).doc('Condition that must be True.'),
  },
  { doc: 'A condition that must hold for the pod to be ready.' },
)
export interface PodReadinessGate extends Out<typeof podReadinessGate> {}

export const podOS = object(
  'core.v1.PodOS',
  {
    name: oneOf('linux', 'windows').proto(1).doc('linux or windows.'),
  },
  { doc: 'The operating system of the containers.' },
)
export interface PodOS extends Out<typeof podOS> {}

export const podSchedulingGate = object(
  'core.v1.PodSchedulingGate',
  {
    name: string().proto(1).doc('Name of the gate.'),
  },
  { doc: 'Holds scheduling back until it is removed.' },
)
export interface PodSchedulingGate extends Out<typeof podSchedulingGate> {}

export const podResourceClaim = object(
  'core.v1.PodResourceClaim',
  {
    name: string().proto(1).doc('Name in the pod.'),
    resourceClaimName: string().optional().proto(3).doc('The claim.'),
    resourceClaimTemplateName: string().optional().proto(4).doc('Template to make the claim from.'),
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
    volumes: listBy(['name'], volume, { patchKey: 'name' }).omitEmpty().proto(1).doc('Directories that the containers can mount.'),
    initContainers: listBy(['name'], container, { patchKey: 'name' }).omitEmpty().proto(20).doc('Containers that run one after another before the others start. With restartPolicy Always they keep running beside them.'),
    containers: listBy(['name'], container, { patchKey: 'name' }).proto(2).doc('Containers of the pod; at least one. They cannot be added or removed later.'),
    ephemeralContainers: listBy(['name'], ephemeralContainer, { patchKey: 'name' }).omitEmpty().proto(34).doc('Containers added for debugging while the pod runs.'),
    restartPolicy: oneOf('Always', 'OnFailure', 'Never').omitEmpty().default('Always').proto(3).doc('When containers that end are started again: Always, OnFailure or Never.'),
    terminationGracePeriodSeconds: int64().optional().default(30).proto(4).doc('Seconds between asking the containers to end and killing them.'),
    activeDeadlineSeconds: int64(1, 2147483647).optional().proto(5).doc('Seconds after which the pod is failed even if it still runs.'),
    dnsPolicy: oneOf('ClusterFirstWithHostNet', 'ClusterFirst', 'Default', 'None').omitEmpty().default('ClusterFirst').proto(6).doc('Where names are resolved: ClusterFirst, ClusterFirstWithHostNet, Default (as the node) or None (dnsConfig only).'),
    nodeSelector: mapOf(string(), { atomic: true }).omitEmpty().proto(7).doc('Labels a node must have.'),
    serviceAccountName: dnsSubdomain().omitEmpty().proto(8).doc('Service account the pod acts under.'),
    serviceAccount: string().omitEmpty().proto(9).doc('Old name of serviceAccountName.'),
    automountServiceAccountToken: bool().optional().proto(21).doc('False leaves the service account\'s token out.'),
    nodeName: dnsSubdomain().omitEmpty().proto(10).doc('Node the pod is bound to; usually the scheduler sets it.'),
    hostNetwork: bool().omitEmpty().proto(11).doc('True uses the node\'s network instead of an own one.'),
    hostPID: bool().omitEmpty().proto(12).doc('True shows the node\'s processes.'),
    hostIPC: bool().omitEmpty().proto(13).doc('True shares the node\'s IPC.'),
    shareProcessNamespace: bool().optional().proto(27).doc('True lets the containers see each other\'s processes.'),
    securityContext: podSecurityContext.optional().default({}).proto(14).doc('Security settings of all containers.'),
    imagePullSecrets: listBy(['name'], localObjectReference, { patchKey: 'name' }).omitEmpty().proto(15).doc('Secrets with credentials for registries.'),
    hostname: dnsLabel().omitEmpty().proto(16).doc('Host name; the pod\'s name unless given.'),
    subdomain: dnsLabel().omitEmpty().proto(17).doc('Makes the full name <hostname>.<subdomain>.<namespace>.svc.<cluster domain>.'),
    affinity: affinity.optional().proto(18).doc('Which nodes the pod wants.'),
    schedulerName: string().omitEmpty().default('default-scheduler').proto(19).doc('Scheduler that places the pod.'),
    tolerations: listOf(toleration).omitEmpty().proto(22).doc('Taints the pod puts up with.'),
    hostAliases: listBy(['ip'], hostAlias, { patchKey: 'ip' }).omitEmpty().proto(23).doc('Extra lines of the hosts file.'),
    priorityClassName: string().omitEmpty().proto(24).doc('Name of the priority class.'),
    priority: int32().optional().proto(25).doc('Priority; higher goes first and may push others out.'),
    dnsConfig: podDNSConfig.optional().proto(26).doc('DNS settings in addition to the policy\'s.'),
    readinessGates: listOf(podReadinessGate).omitEmpty().proto(28).doc('Conditions that must hold besides the containers\' readiness.'),
    runtimeClassName: string().optional().proto(29).doc('How containers are run, by runtime class.'),
    enableServiceLinks: bool().optional().proto(30).doc('True gives every container variables with the addresses of services.'),
    preemptionPolicy: oneOf('PreemptLowerPriority', 'Never').optional().proto(31).doc('Whether the pod may push others of lower priority out.'),
    overhead: resourceList.omitEmpty().proto(32).doc('Resources that running the pod itself takes.'),
    topologySpreadConstraints: listBy(['topologyKey', 'whenUnsatisfiable'], topologySpreadConstraint, { patchKey: 'topologyKey' }).omitEmpty().proto(33).doc('How pods spread over zones and nodes.'),
    setHostnameAsFQDN: bool().optional().proto(35).doc('True makes the full name the host name.'),
    os: podOS.optional().proto(36).doc('Operating system of the containers.'),
    hostUsers: bool().optional().proto(37).doc('False runs the pod in a user namespace.'),
    schedulingGates: listBy(['name'], podSchedulingGate, { patchKey: 'name' }).omitEmpty().proto(38).doc('Keep the pod from being scheduled until they are gone.'),
    resourceClaims: listBy(['name'], podResourceClaim, { patchKey: 'name' }).omitEmpty().proto(39).doc('Devices the pod claims.'),
    resources: resourceRequirements.optional().proto(40).doc('Resources for all containers together.'),
    hostnameOverride: string().optional().proto(41),
    schedulingGroup: podSchedulingGroup.optional().proto(43),
    evictionResponders: listBy(['name'], evictionResponder, { patchKey: 'name' }).omitEmpty().proto(44),
  },
  { complete: completePodSpec, doc: 'What a pod should be.' },
)
export interface PodSpec extends Out<typeof podSpec> {}
