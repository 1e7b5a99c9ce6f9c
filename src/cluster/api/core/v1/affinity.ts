/** Where a pod may run, core/v1: node and pod affinity, tolerations, spreading. */
import type { Out } from '#schema/vocabulary.ts'
import { int32, int64, listOf, object, oneOf, string } from '#schema/vocabulary.ts'
import { labelSelector } from '../../meta/v1/label-selector.ts'

export const nodeSelectorRequirement = object(
  'core.v1.NodeSelectorRequirement',
  {
    key: string().proto(1).doc('Label or field.'),
    operator: oneOf('In', 'NotIn', 'Exists', 'DoesNotExist', 'Gt', 'Lt').proto(2).doc('In, NotIn, Exists, DoesNotExist, Gt or Lt.'),
    values: listOf(string()).omitEmpty().proto(3).doc('Values to compare with.'),
  },
  { doc: 'One condition on a label or field.' },
)
export interface NodeSelectorRequirement extends Out<typeof nodeSelectorRequirement> {}

export const nodeSelectorTerm = object(
  'core.v1.NodeSelectorTerm',
  {
    matchExpressions: listOf(nodeSelectorRequirement).omitEmpty().proto(1).doc('Conditions on labels.'),
    matchFields: listOf(nodeSelectorRequirement).omitEmpty().proto(2).doc('Conditions on fields.'),
  },
  { atomic: true, doc: 'Conditions that must all hold.' },
)
export interface NodeSelectorTerm extends Out<typeof nodeSelectorTerm> {}

export const nodeSelector = object(
  'core.v1.NodeSelector',
  {
    nodeSelectorTerms: listOf(nodeSelectorTerm).proto(1).doc('Terms of which one must hold.'),
  },
  { atomic: true, doc: 'Terms of which one must hold.' },
)
export interface NodeSelector extends Out<typeof nodeSelector> {}

export const preferredSchedulingTerm = object(
  'core.v1.PreferredSchedulingTerm',
  {
    weight: int32(1, 100).proto(1).doc('1 to 100.'),
    preference: nodeSelectorTerm.proto(2).doc('The wish.'),
  },
  { doc: 'A wish and its weight.' },
)
export interface PreferredSchedulingTerm extends Out<typeof preferredSchedulingTerm> {}

export const nodeAffinity = object(
  'core.v1.NodeAffinity',
  {
    requiredDuringSchedulingIgnoredDuringExecution: nodeSelector.optional().proto(1).doc('Must hold for the pod to be placed.'),
    preferredDuringSchedulingIgnoredDuringExecution: listOf(preferredSchedulingTerm).omitEmpty().proto(2).doc('Wishes, by weight.'),
  },
  { doc: 'Which nodes a pod wants, by their labels.' },
)
export interface NodeAffinity extends Out<typeof nodeAffinity> {}

export const podAffinityTerm = object(
  'core.v1.PodAffinityTerm',
  {
    labelSelector: labelSelector.optional().proto(1).doc('Pods that count.'),
    namespaces: listOf(string()).omitEmpty().proto(2).doc('Namespaces of the pods; that of this pod unless given.'),
    topologyKey: string().proto(3).doc('Node label whose values are the places.'),
    namespaceSelector: labelSelector.optional().proto(4).doc('Labels of the namespaces.'),
    matchLabelKeys: listOf(string()).omitEmpty().proto(5).doc('Labels in which the pods must agree.'),
    mismatchLabelKeys: listOf(string()).omitEmpty().proto(6).doc('Labels in which the pods must differ.'),
  },
  { doc: 'Which pods count, and what "near" means.' },
)
export interface PodAffinityTerm extends Out<typeof podAffinityTerm> {}

export const weightedPodAffinityTerm = object(
  'core.v1.WeightedPodAffinityTerm',
  {
    weight: int32(1, 100).proto(1).doc('1 to 100.'),
    podAffinityTerm: podAffinityTerm.proto(2).doc('The wish.'),
  },
  { doc: 'A wish and its weight.' },
)
export interface WeightedPodAffinityTerm extends Out<typeof weightedPodAffinityTerm> {}

export const podAffinity = object(
  'core.v1.PodAffinity',
  {
    requiredDuringSchedulingIgnoredDuringExecution: listOf(podAffinityTerm).omitEmpty().proto(1).doc('Must hold for the pod to be placed.'),
    preferredDuringSchedulingIgnoredDuringExecution: listOf(weightedPodAffinityTerm).omitEmpty().proto(2).doc('Wishes, by weight.'),
  },
  { doc: 'Pods to be near to.' },
)
export interface PodAffinity extends Out<typeof podAffinity> {}

export const podAntiAffinity = object(
  'core.v1.PodAntiAffinity',
  {
    requiredDuringSchedulingIgnoredDuringExecution: listOf(podAffinityTerm).omitEmpty().proto(1).doc('Must hold for the pod to be placed.'),
    preferredDuringSchedulingIgnoredDuringExecution: listOf(weightedPodAffinityTerm).omitEmpty().proto(2).doc('Wishes, by weight.'),
  },
  { doc: 'Pods to stay away from.' },
)
export interface PodAntiAffinity extends Out<typeof podAntiAffinity> {}

export const affinity = object(
  'core.v1.Affinity',
  {
    nodeAffinity: nodeAffinity.optional().proto(1).doc('By the labels of nodes.'),
    podAffinity: podAffinity.optional().proto(2).doc('Near to these pods.'),
    podAntiAffinity: podAntiAffinity.optional().proto(3).doc('Away from these pods.'),
  },
  { doc: 'Which nodes a pod wants, by their labels and by the pods they run.' },
)
export interface Affinity extends Out<typeof affinity> {}

export const toleration = object(
  'core.v1.Toleration',
  {
    key: string().omitEmpty().proto(1).doc('Taint key; all when empty.'),
    operator: oneOf('Exists', 'Equal', 'Lt', 'Gt').omitEmpty().proto(2).doc('Equal compares the value, Exists does not.'),
    value: string().omitEmpty().proto(3).doc('Taint value.'),
    effect: oneOf('NoSchedule', 'PreferNoSchedule', 'NoExecute').omitEmpty().proto(4).doc('Taint effect; all when empty.'),
    tolerationSeconds: int64().optional().proto(5).doc('Seconds a NoExecute taint is put up with; for ever unless given.'),
  },
  { doc: 'Lets the pod onto nodes with a matching taint.' },
)
export interface Toleration extends Out<typeof toleration> {}

export const topologySpreadConstraint = object(
  'core.v1.TopologySpreadConstraint',
  {
    maxSkew: int32(1).proto(1).doc('How uneven it may be.'),
    topologyKey: string().proto(2).doc('Node label whose values are the places.'),
    whenUnsatisfiable: oneOf('DoNotSchedule', 'ScheduleAnyway').proto(3).doc('DoNotSchedule or ScheduleAnyway.'),
    labelSelector: labelSelector.optional().proto(4).doc('Pods that count.'),
    minDomains: int32(1).optional().proto(5).doc('At least so many places must there be.'),
    nodeAffinityPolicy: oneOf('Ignore', 'Honor').optional().proto(6).doc('Whether nodes that affinity rules out count.'),
    nodeTaintsPolicy: oneOf('Ignore', 'Honor').optional().proto(7).doc('Whether tainted nodes count.'),
    matchLabelKeys: listOf(string()).omitEmpty().proto(8).doc('Labels in which the pods must agree.'),
  },
  { doc: 'Spreads matching pods evenly.' },
)
export interface TopologySpreadConstraint extends Out<typeof topologySpreadConstraint> {}
