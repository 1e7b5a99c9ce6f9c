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
    ready: bool().optional().proto(1),
    serving: bool().optional().proto(2),
    terminating: bool().optional().proto(3),
  },
)
export interface EndpointConditions extends Out<typeof endpointConditions> {}

export const forZone = object(
  'discovery.v1.ForZone',
  {
    name: string().proto(1),
  },
)
export interface ForZone extends Out<typeof forZone> {}

export const forNode = object(
  'discovery.v1.ForNode',
  {
    name: string().proto(1),
  },
)
export interface ForNode extends Out<typeof forNode> {}

export const endpointHints = object(
  'discovery.v1.EndpointHints',
  {
    forZones: listOf(forZone).omitEmpty().proto(1),
    forNodes: listOf(forNode).omitEmpty().proto(2),
  },
)
export interface EndpointHints extends Out<typeof endpointHints> {}

export const endpoint = object(
  'discovery.v1.Endpoint',
  {
    addresses: setOf(string()).proto(1),
    conditions: endpointConditions.always().proto(2),
    hostname: string().optional().proto(3),
    targetRef: objectReference.optional().proto(4),
    deprecatedTopology: mapOf(string()).omitEmpty().proto(5),
    nodeName: string().optional().proto(6),
    zone: string().optional().proto(7),
    hints: endpointHints.optional().proto(8),
  },
)
export interface Endpoint extends Out<typeof endpoint> {}

export const endpointPort = object(
  'discovery.v1.EndpointPort',
  {
    name: string().optional().default('').proto(1),
    protocol: oneOf('TCP', 'UDP', 'SCTP').optional().default('TCP').proto(2),
    port: int32(1, 65535).optional().proto(3),
    appProtocol: string().optional().proto(4),
  },
  { atomic: true },
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
  fields: {
    addressType: oneOf('IPv4', 'IPv6', 'FQDN').immutable().proto(4),
    endpoints: listOf(endpoint).always().proto(2),
    ports: listOf(endpointPort).always().proto(3),
  },
})
export interface EndpointSlice extends Stored<typeof EndpointSlice> {}
export interface SubmittedEndpointSlice extends Submitted<typeof EndpointSlice> {}
