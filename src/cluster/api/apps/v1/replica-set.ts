/** ReplicaSet, apps/v1: keeps a number of pods of one template running. */
import type { Stored, Submitted } from '#schema/kind.ts'
import { defineKind } from '#schema/kind.ts'
import type { Out } from '#schema/vocabulary.ts'
import { int32, int64, listBy, object, oneOf, string, time } from '#schema/vocabulary.ts'
import { replicaSetRules } from './workload-rules.ts'
import { podTemplateSpec } from '../../core/v1/pod-template.ts'
import { labelSelector } from '../../meta/v1/label-selector.ts'

export const replicaSetSpec = object(
  'apps.v1.ReplicaSetSpec',
  {
    replicas: int32(0).optional().default(1).proto(1).doc('How many pods.'),
    minReadySeconds: int32(0).omitEmpty().proto(4).doc('Seconds a pod must be ready to count as available.'),
    selector: labelSelector.immutable().proto(2).doc('Which pods belong to it; must match the template\'s labels and never changes.'),
    template: podTemplateSpec.always().proto(3).doc('What the pods are made from.'),
  },
  { doc: 'What should run and how often.' },
)
export interface ReplicaSetSpec extends Out<typeof replicaSetSpec> {}

export const replicaSetCondition = object(
  'apps.v1.ReplicaSetCondition',
  {
    type: string().always().proto(1).doc('What is observed.'),
    status: oneOf('True', 'False', 'Unknown').always().proto(2).doc('True, False or Unknown.'),
    lastTransitionTime: time().omitEmpty().proto(3).doc('When the status last changed.'),
    reason: string().omitEmpty().proto(4).doc('Why, in one word.'),
    message: string().omitEmpty().proto(5).doc('Why, for people.'),
  },
  { reported: true, doc: 'One observation of a replica set.' },
)
export interface ReplicaSetCondition extends Out<typeof replicaSetCondition> {}

export const replicaSetStatus = object(
  'apps.v1.ReplicaSetStatus',
  {
    replicas: int32().proto(1).doc('Pods there.'),
    fullyLabeledReplicas: int32().omitEmpty().proto(2).doc('Pods that carry all labels of the template.'),
    readyReplicas: int32().omitEmpty().proto(4).doc('Pods ready.'),
    availableReplicas: int32().omitEmpty().proto(5).doc('Pods available.'),
    terminatingReplicas: int32().optional().proto(7).doc('Pods that are ending.'),
    observedGeneration: int64().omitEmpty().proto(3).doc('Generation that the status is about.'),
    conditions: listBy(['type'], replicaSetCondition, { patchKey: 'type' }).omitEmpty().proto(6).doc('Observations.'),
  },
  { reported: true, doc: 'How many pods there are.' },
)
export interface ReplicaSetStatus extends Out<typeof replicaSetStatus> {}

export const ReplicaSet = defineKind({
  group: 'apps',
  version: 'v1',
  kind: 'ReplicaSet',
  plural: 'replicasets',
  shortNames: ['rs'],
  categories: ['all'],
  namespaced: true,
  generation: true,
  subresources: { status: true, scale: { replicas: 'spec.replicas', statusReplicas: 'status.replicas', selector: 'spec.selector' } },
  selectable: ['status.replicas'],
  validate: replicaSetRules,
  doc: 'Keeps a number of pods of one template running.',
  fields: {
    spec: replicaSetSpec.proto(2).doc('What should run.'),
    status: replicaSetStatus.always().proto(3).doc('How many pods there are.'),
  },
})
export interface ReplicaSet extends Stored<typeof ReplicaSet> {}
export interface SubmittedReplicaSet extends Submitted<typeof ReplicaSet> {}
