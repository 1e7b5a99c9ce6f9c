/** Columns of deployments and replica sets. */
import type { StoredObject } from '#schema/kind.ts'
import { formatLabelSelector, requirementsOf } from '#schema/selector.ts'
import type { Column } from '#schema/table.ts'
import { ageColumn, count, defineTable, nameColumn, text, wide } from '#schema/table.ts'
import type { PodTemplateSpec } from '../../core/v1/pod-template.ts'
import type { LabelSelector } from '../../meta/v1/label-selector.ts'
import { Deployment } from './deployment.ts'
import { ReplicaSet } from './replica-set.ts'

interface Workload extends StoredObject {
  readonly spec: { readonly selector: LabelSelector; readonly template: PodTemplateSpec }
}

const templateColumns: readonly Column<Workload>[] = [
  wide('Containers', 'Names of the containers.', ({ spec }) => spec.template.spec.containers.map(({ name }) => name).join(',')),
  wide('Images', 'Images of the containers.', ({ spec }) => spec.template.spec.containers.map(({ image }) => image ?? '').join(',')),
  wide('Selector', 'Labels of the pods.', ({ spec }) => formatLabelSelector(requirementsOf(spec.selector))),
]

export const deploymentTable = defineTable(Deployment, [
  nameColumn,
  text('Ready', 'Ready pods out of those wanted.', ({ spec, status }) => `${status.readyReplicas ?? 0}/${spec.replicas}`),
  count('Up-to-date', 'Pods made from the current template.', ({ status }) => status.updatedReplicas ?? 0),
  count('Available', 'Pods that have been ready long enough.', ({ status }) => status.availableReplicas ?? 0),
  ageColumn,
  ...templateColumns,
])

export const replicaSetTable = defineTable(ReplicaSet, [
  nameColumn,
  count('Desired', 'Pods wanted.', ({ spec }) => spec.replicas),
  count('Current', 'Pods there.', ({ status }) => status.replicas),
  count('Ready', 'Pods ready.', ({ status }) => status.readyReplicas ?? 0),
  ageColumn,
  ...templateColumns,
])
