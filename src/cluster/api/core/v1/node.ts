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
    key: string({ format: 'qualifiedName' }).proto(1).doc('Key.'),
    value: string().omitEmpty().proto(2).doc('Value.'),
    effect: oneOf('NoSchedule', 'PreferNoSchedule', 'NoExecute').proto(3).doc('NoSchedule, PreferNoSchedule or NoExecute.'),
    timeAdded: time().optional().proto(4).doc('When it was added.'),
  },
  { doc: 'Keeps pods off the node unless they tolerate it.' },
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
    podCIDR: string().omitEmpty().proto(1).doc('Range of the pods\' addresses.'),
    podCIDRs: setOf(string(), { patch: 'merge' }).omitEmpty().proto(7).doc('Ranges of the pods\' addresses.'),
    providerID: string().omitEmpty().proto(3).doc('Name of the machine at its provider.'),
    unschedulable: bool().omitEmpty().proto(4).doc('True takes no new pods (kubectl cordon).'),
    taints: listOf(taint).omitEmpty().proto(5).doc('Keep pods off that do not tolerate them.'),
    configSource: nodeConfigSource.optional().proto(6),
    externalID: string().omitEmpty().proto(2),
    podPreemptionPolicy: nodePodPreemptionPolicy.optional().proto(8),
  },
  { doc: 'How the node may be used.' },
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
  doc: 'A machine that runs pods.',
  fields: {
    spec: nodeSpec.always().proto(2).doc('How the node may be used.'),
    status: nodeStatus.always().proto(3).doc('What the node reports.'),
  },
})
export interface Node extends Stored<typeof Node> {}
export interface SubmittedNode extends Submitted<typeof Node> {}
