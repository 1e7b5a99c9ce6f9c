/** Service, core/v1: one name and address for a set of pods. */
import type { Stored, Submitted } from '#schema/kind.ts'
import { defineKind } from '#schema/kind.ts'
import type { Out } from '#schema/vocabulary.ts'
import { bool, dnsLabel, int32, intOrString, listBy, listOf, mapOf, object, oneOf, string } from '#schema/vocabulary.ts'
import { completeServiceSpec, keepAllocations, targetPortFor } from './service-defaults.ts'
import { serviceRules, serviceUpdateRules } from './service-rules.ts'
import { condition } from '../../meta/v1/condition.ts'

export const servicePort = object(
  'core.v1.ServicePort',
  {
    name: dnsLabel().omitEmpty().proto(1).doc('Name; needed when there are several.'),
    protocol: oneOf('TCP', 'UDP', 'SCTP').omitEmpty().default('TCP').proto(2).doc('TCP, UDP or SCTP.'),
    appProtocol: string().optional().proto(6).doc('Application protocol, as a hint.'),
    port: int32(1, 65535).proto(3).doc('Port of the service.'),
    targetPort: intOrString().omitEmpty().default(targetPortFor).proto(4).doc('Port of the pods, by number or name; the same number unless given.'),
    nodePort: int32(0, 65535).omitEmpty().proto(5).doc('Port on every node, for NodePort and LoadBalancer.'),
  },
  { doc: 'One port of a service.' },
)
export interface ServicePort extends Out<typeof servicePort> {}

export const clientIPConfig = object(
  'core.v1.ClientIPConfig',
  {
    timeoutSeconds: int32(1, 86400).optional().proto(1).doc('Seconds a client stays with its pod.'),
  },
  { doc: 'For affinity by client address.' },
)
export interface ClientIPConfig extends Out<typeof clientIPConfig> {}

export const sessionAffinityConfig = object(
  'core.v1.SessionAffinityConfig',
  {
    clientIP: clientIPConfig.optional().proto(1).doc('For affinity by client address.'),
  },
  { doc: 'How long a client stays with its pod.' },
)
export interface SessionAffinityConfig extends Out<typeof sessionAffinityConfig> {}

export const serviceSpec = object(
  'core.v1.ServiceSpec',
  {
    ports: listBy(['port', 'protocol'], servicePort, { patchKey: 'port' }).omitEmpty().proto(1).doc('Ports of the service.'),
    selector: mapOf(string(), { atomic: true }).omitEmpty().proto(2).doc('Labels of the pods behind it. Without one, nothing fills the endpoints.'),
    clusterIP: string().omitEmpty().proto(3).doc('Address inside the cluster; None for a headless service.'),
    clusterIPs: listOf(string()).omitEmpty().proto(18).doc('Addresses inside the cluster, the first is clusterIP.'),
    type: oneOf('ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName').omitEmpty().default('ClusterIP').proto(4).doc('ClusterIP, NodePort, LoadBalancer or ExternalName.'),
    externalIPs: listOf(string()).omitEmpty().proto(5).doc('Further addresses that lead here.'),
    sessionAffinity: oneOf('ClientIP', 'None').omitEmpty().default('None').proto(7).doc('ClientIP keeps a client with its pod.'),
    loadBalancerIP: string().omitEmpty().proto(8).doc('Address asked of the load balancer.'),
    loadBalancerSourceRanges: listOf(string()).omitEmpty().proto(9).doc('Clients that the load balancer lets through.'),
    externalName: string().omitEmpty().proto(10).doc('DNS name the service stands for.'),
    externalTrafficPolicy: oneOf('Cluster', 'Local').omitEmpty().proto(11).doc('Cluster uses all pods, Local only those on the node and keeps the client\'s address.'),
    healthCheckNodePort: int32().omitEmpty().proto(12).doc('Port where nodes tell whether they have pods of the service.'),
    publishNotReadyAddresses: bool().omitEmpty().proto(13).doc('True lists pods that are not ready too.'),
    sessionAffinityConfig: sessionAffinityConfig.optional().proto(14).doc('How long a client stays with its pod.'),
    ipFamilies: listOf(oneOf('IPv4', 'IPv6')).omitEmpty().proto(19).doc('IPv4, IPv6 or both.'),
    ipFamilyPolicy: oneOf('SingleStack', 'PreferDualStack', 'RequireDualStack').optional().proto(17).doc('One family or two.'),
    allocateLoadBalancerNodePorts: bool().optional().proto(20).doc('False gives a load balancer no node ports.'),
    loadBalancerClass: string().optional().proto(21).doc('Which load balancer takes care of it.'),
    internalTrafficPolicy: oneOf('Cluster', 'Local').optional().proto(22).doc('Cluster uses all pods, Local only those on the client\'s node.'),
    trafficDistribution: string().optional().proto(23).doc('Which pods to prefer, e.g. PreferClose.'),
  },
  { complete: completeServiceSpec, doc: 'Which pods a service stands for and how it is reached.' },
)
export interface ServiceSpec extends Out<typeof serviceSpec> {}

export const portStatus = object(
  'core.v1.PortStatus',
  {
    port: int32().proto(1),
    protocol: oneOf('TCP', 'UDP', 'SCTP').proto(2),
    error: string().optional().proto(3),
  },
  { reported: true },
)
export interface PortStatus extends Out<typeof portStatus> {}

export const loadBalancerIngress = object(
  'core.v1.LoadBalancerIngress',
  {
    ip: string().omitEmpty().proto(1).doc('Address.'),
    hostname: string().omitEmpty().proto(2).doc('Host name.'),
    ipMode: oneOf('VIP', 'Proxy').optional().proto(3).doc('VIP or Proxy.'),
    ports: listOf(portStatus).omitEmpty().proto(4).doc('Ports and their state.'),
  },
  { doc: 'One entry point.' },
)
export interface LoadBalancerIngress extends Out<typeof loadBalancerIngress> {}

export const loadBalancerStatus = object(
  'core.v1.LoadBalancerStatus',
  {
    ingress: listOf(loadBalancerIngress).omitEmpty().proto(1).doc('Entry points.'),
  },
  { reported: true, doc: 'Where the load balancer listens.' },
)
export interface LoadBalancerStatus extends Out<typeof loadBalancerStatus> {}

export const serviceStatus = object(
  'core.v1.ServiceStatus',
  {
    loadBalancer: loadBalancerStatus.always().proto(1).doc('Where the load balancer listens.'),
    conditions: listBy(['type'], condition, { patchKey: 'type' }).omitEmpty().proto(2).doc('Observations.'),
  },
  { reported: true, doc: 'What is known of the service from outside.' },
)
export interface ServiceStatus extends Out<typeof serviceStatus> {}

export const Service = defineKind({
  group: '',
  version: 'v1',
  kind: 'Service',
  plural: 'services',
  shortNames: ['svc'],
  categories: ['all'],
  namespaced: true,
  nameFormat: 'dns1035Label',
  subresources: { status: true, others: { proxy: { group: '', version: 'v1', kind: 'ServiceProxyOptions', verbs: ['create', 'delete', 'get', 'patch', 'update'] } } },
  selectable: ['spec.clusterIP', 'spec.type'],
  validate: serviceRules,
  validateUpdate: serviceUpdateRules,
  prepareForUpdate: keepAllocations,
  doc: 'One name and one address for a set of pods.',
  fields: {
    spec: serviceSpec.always().proto(2).doc('Which pods it stands for and how it is reached.'),
    status: serviceStatus.always().proto(3).doc('What is known from outside.'),
  },
})
export interface Service extends Stored<typeof Service> {}
export interface SubmittedService extends Submitted<typeof Service> {}
