/** Node, core/v1: a machine that runs pods. */
import type { Stored, Submitted } from '#schema/kind.ts'
import { defineKind } from '#schema/kind.ts'
import type { Out } from '#schema/vocabulary.ts'
import { bool, listOf, object, oneOf, setOf, string, time } from '#schema/vocabulary.ts'
import { nodeRules, nodeUpdateRules } from './node-rules.ts'
import { nodeConfigSource, nodeStatus } from './node-status.ts'

export const taint = object(
  'core.v1.Taint',
  {
    key: string({ format: 'qualifiedName' }).proto(1),
    value: string().omitEmpty().proto(2),
    effect: oneOf('NoSchedule', 'PreferNoSchedule', 'NoExecute').proto(3),
    timeAdded: time().optional().proto(4),
  },
)
export interface Taint extends Out<typeof taint> {}

export const nodePodPreemptionPolicy = object(
  'core.v1.NodePodPreemptionPolicy',
  {
    disableResizePreemption: setOf(string()).omitEmpty().proto(1),
  },
)
export interface NodePodPreemptionPolicy extends Out<typeof nodePodPreemptionPolicy> {}

export const nodeSpec = object(
  'core.v1.NodeSpec',
  {
    podCIDR: string().omitEmpty().proto(1),
    podCIDRs: setOf(string(), { patch: 'merge' }).omitEmpty().proto(7),
    providerID: string().omitEmpty().proto(3),
    unschedulable: bool().omitEmpty().proto(4),
    taints: listOf(taint).omitEmpty().proto(5),
    configSource: nodeConfigSource.optional().proto(6),
    externalID: string().omitEmpty().proto(2),
    podPreemptionPolicy: nodePodPreemptionPolicy.optional().proto(8),
  },
)
export interface NodeSpec extends Out<typeof nodeSpec> {}

export const Node = defineKind({
  group: '',
  version: 'v1',
  kind: 'Node',
  plural: 'nodes',
  shortNames: ['no'],
  namespaced: false,
  subresources: { status: true, others: { proxy: { group: '', version: 'v1', kind: 'NodeProxyOptions', verbs: ['create', 'delete', 'get', 'patch', 'update'] } } },
  selectable: ['spec.unschedulable'],
  validate: nodeRules,
  validateUpdate: nodeUpdateRules,
  fields: {
    spec: nodeSpec.always().proto(2),
    status: nodeStatus.always().proto(3),
  },
})
export interface Node extends Stored<typeof Node> {}
export interface SubmittedNode extends Submitted<typeof Node> {}
