/** EndpointSlice, discovery.k8s.io/v1: addresses behind a service. */
import type { Stored, Submitted } from '#schema/kind.ts'
import { defineKind } from '#schema/kind.ts'
import type { Out } from '#schema/vocabulary.ts'
import { bool, int32, listOf, mapOf, object, oneOf, setOf, string } from '#schema/vocabulary.ts'
import { objectReference } from '../../core/v1/object-reference.ts'
import { endpointSliceRules } from './endpoint-slice-rules.ts'

export const endpointConditions = object(
  'discovery.v1.EndpointConditions',
  {
    ready: bool().optional().proto(1).doc('Takes new connections.'),
    serving: bool().optional().proto(2).doc('Answers, perhaps while it is ending.'),
    terminating: bool().optional().proto(3).doc('Is ending.'),
  },
  { doc: 'Whether an endpoint should be used.' },
)
export interface EndpointConditions extends Out<typeof endpointConditions> {}

export const forZone = object(
  'discovery.v1.ForZone',
  {
    name: string().proto(1).doc('Name of the zone.'),
  },
)
export interface ForZone extends Out<typeof forZone> {}

export const forNode = object(
  'discovery.v1.ForNode',
  {
    name: string().proto(1).doc('Name of the node.'),
  },
)
export interface ForNode extends Out<typeof forNode> {}

export const endpointHints = object(
  'discovery.v1.EndpointHints',
  {
    forZones: listOf(forZone).omitEmpty().proto(1).doc('Zones that should prefer it.'),
    forNodes: listOf(forNode).omitEmpty().proto(2).doc('Nodes that should prefer it.'),
  },
  { doc: 'Who should prefer the endpoint.' },
)
export interface EndpointHints extends Out<typeof endpointHints> {}

export const endpoint = object(
  'discovery.v1.Endpoint',
  {
    addresses: setOf(string()).proto(1).doc('Addresses of one and the same endpoint; clients may use any.'),
    conditions: endpointConditions.always().proto(2).doc('Whether it should be used.'),
    hostname: string().optional().proto(3).doc('Host name for DNS.'),
    targetRef: objectReference.optional().proto(4).doc('The pod.'),
    deprecatedTopology: mapOf(string()).omitEmpty().proto(5),
    nodeName: string().optional().proto(6).doc('Node it runs on.'),
    zone: string().optional().proto(7).doc('Zone it runs in.'),
    hints: endpointHints.optional().proto(8).doc('Who should prefer it.'),
  },
  { doc: 'One place that serves, usually a pod.' },
)
export interface Endpoint extends Out<typeof endpoint> {}

export const endpointPort = object(
  'discovery.v1.EndpointPort',
  {
    name: string().optional().default('').proto(1).doc('Name of the service\'s port.'),
    protocol: oneOf('TCP', 'UDP', 'SCTP').optional().default('TCP').proto(2).doc('TCP, UDP or SCTP.'),
    port: int32(1, 65535).optional().proto(3).doc('Port number.'),
    appProtocol: string().optional().proto(4).doc('Application protocol, as a hint.'),
  },
  { atomic: true, doc: 'A port that all endpoints of the slice serve.' },
)
export interface EndpointPort extends Out<typeof endpointPort> {}

export const EndpointSlice = defineKind({
  group: 'discovery.k8s.io',
  version: 'v1',
  kind: 'EndpointSlice',
  plural: 'endpointslices',
  namespaced: true,
  generation: true,
  validate: endpointSliceRules,
  doc: 'A part of the addresses behind a service.',
  fields: {
    addressType: oneOf('IPv4', 'IPv6', 'FQDN').immutable().proto(4).doc('IPv4, IPv6 or FQDN; of all endpoints of the slice.'),
    endpoints: listOf(endpoint).always().proto(2).doc('The endpoints, at most 1000.'),
    ports: listOf(endpointPort).always().proto(3).doc('Ports that every endpoint serves.'),
  },
})
export interface EndpointSlice extends Stored<typeof EndpointSlice> {}
export interface SubmittedEndpointSlice extends Submitted<typeof EndpointSlice> {}
