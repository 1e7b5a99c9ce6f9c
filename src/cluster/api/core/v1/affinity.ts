/** Where a pod may run, core/v1: node and pod affinity, tolerations, spreading. */
import type { Out } from '#schema/vocabulary.ts'
import { int32, int64, listOf, object, oneOf, string } from '#schema/vocabulary.ts'
import { labelSelector } from '../../meta/v1/label-selector.ts'

export const nodeSelectorRequirement = object(
  'core.v1.NodeSelectorRequirement',
  {
    key: string().proto(1),
    operator: oneOf('In', 'NotIn', 'Exists', 'DoesNotExist', 'Gt', 'Lt').proto(2),
    values: listOf(string()).omitEmpty().proto(3),
  },
)
export interface NodeSelectorRequirement extends Out<typeof nodeSelectorRequirement> {}

export const nodeSelectorTerm = object(
  'core.v1.NodeSelectorTerm',
  {
    matchExpressions: listOf(nodeSelectorRequirement).omitEmpty().proto(1),
    matchFields: listOf(nodeSelectorRequirement).omitEmpty().proto(2),
  },
  { atomic: true },
)
export interface NodeSelectorTerm extends Out<typeof nodeSelectorTerm> {}

export const nodeSelector = object(
  'core.v1.NodeSelector',
  {
    nodeSelectorTerms: listOf(nodeSelectorTerm).proto(1),
  },
  { atomic: true },
)
export interface NodeSelector extends Out<typeof nodeSelector> {}

export const preferredSchedulingTerm = object(
  'core.v1.PreferredSchedulingTerm',
  {
    weight: int32(1, 100).proto(1),
    preference: nodeSelectorTerm.proto(2),
  },
)
export interface PreferredSchedulingTerm extends Out<typeof preferredSchedulingTerm> {}

export const nodeAffinity = object(
  'core.v1.NodeAffinity',
  {
    requiredDuringSchedulingIgnoredDuringExecution: nodeSelector.optional().proto(1),
    preferredDuringSchedulingIgnoredDuringExecution: listOf(preferredSchedulingTerm).omitEmpty().proto(2),
  },
)
export interface NodeAffinity extends Out<typeof nodeAffinity> {}

export const podAffinityTerm = object(
  'core.v1.PodAffinityTerm',
  {
    labelSelector: labelSelector.optional().proto(1),
    namespaces: listOf(string()).omitEmpty().proto(2),
    topologyKey: string().proto(3),
    namespaceSelector: labelSelector.optional().proto(4),
    matchLabelKeys: listOf(string()).omitEmpty().proto(5),
    mismatchLabelKeys: listOf(string()).omitEmpty().proto(6),
  },
)
export interface PodAffinityTerm extends Out<typeof podAffinityTerm> {}

export const weightedPodAffinityTerm = object(
  'core.v1.WeightedPodAffinityTerm',
  {
    weight: int32(1, 100).proto(1),
    podAffinityTerm: podAffinityTerm.proto(2),
  },
)
export interface WeightedPodAffinityTerm extends Out<typeof weightedPodAffinityTerm> {}

export const podAffinity = object(
  'core.v1.PodAffinity',
  {
    requiredDuringSchedulingIgnoredDuringExecution: listOf(podAffinityTerm).omitEmpty().proto(1),
    preferredDuringSchedulingIgnoredDuringExecution: listOf(weightedPodAffinityTerm).omitEmpty().proto(2),
  },
)
export interface PodAffinity extends Out<typeof podAffinity> {}

export const podAntiAffinity = object(
  'core.v1.PodAntiAffinity',
  {
    requiredDuringSchedulingIgnoredDuringExecution: listOf(podAffinityTerm).omitEmpty().proto(1),
    preferredDuringSchedulingIgnoredDuringExecution: listOf(weightedPodAffinityTerm).omitEmpty().proto(2),
  },
)
export interface PodAntiAffinity extends Out<typeof podAntiAffinity> {}

export const affinity = object(
  'core.v1.Affinity',
  {
    nodeAffinity: nodeAffinity.optional().proto(1),
    podAffinity: podAffinity.optional().proto(2),
    podAntiAffinity: podAntiAffinity.optional().proto(3),
  },
)
export interface Affinity extends Out<typeof affinity> {}

export const toleration = object(
  'core.v1.Toleration',
  {
    key: string().omitEmpty().proto(1),
    operator: oneOf('Exists', 'Equal', 'Lt', 'Gt').omitEmpty().proto(2),
    value: string().omitEmpty().proto(3),
    effect: oneOf('NoSchedule', 'PreferNoSchedule', 'NoExecute').omitEmpty().proto(4),
    tolerationSeconds: int64().optional().proto(5),
  },
)
export interface Toleration extends Out<typeof toleration> {}

export const topologySpreadConstraint = object(
  'core.v1.TopologySpreadConstraint',
  {
    maxSkew: int32(1).proto(1),
    topologyKey: string().proto(2),
    whenUnsatisfiable: oneOf('DoNotSchedule', 'ScheduleAnyway').proto(3),
    labelSelector: labelSelector.optional().proto(4),
    minDomains: int32(1).optional().proto(5),
    nodeAffinityPolicy: oneOf('Ignore', 'Honor').optional().proto(6),
    nodeTaintsPolicy: oneOf('Ignore', 'Honor').optional().proto(7),
    matchLabelKeys: listOf(string()).omitEmpty().proto(8),
  },
)
export interface TopologySpreadConstraint extends Out<typeof topologySpreadConstraint> {}
