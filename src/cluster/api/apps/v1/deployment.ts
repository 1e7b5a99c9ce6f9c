/** Deployment, apps/v1: rolls a pod template out to a number of replicas. */
import type { Stored, Submitted } from '#schema/kind.ts'
import { defineKind } from '#schema/kind.ts'
import type { Out } from '#schema/vocabulary.ts'
import { bool, int32, int64, intOrString, listBy, object, oneOf, string, time } from '#schema/vocabulary.ts'
import { rollingUpdateFor } from './deployment-defaults.ts'
import { deploymentRules } from './workload-rules.ts'
import { podTemplateSpec } from '../../core/v1/pod-template.ts'
import { labelSelector } from '../../meta/v1/label-selector.ts'

export const rollingUpdateDeployment = object(
  'apps.v1.RollingUpdateDeployment',
  {
    maxUnavailable: intOrString().optional().default('25%').proto(1),
    maxSurge: intOrString().optional().default('25%').proto(2),
  },
)
export interface RollingUpdateDeployment extends Out<typeof rollingUpdateDeployment> {}

export const deploymentStrategy = object(
  'apps.v1.DeploymentStrategy',
  {
    type: oneOf('Recreate', 'RollingUpdate').omitEmpty().default('RollingUpdate').proto(1),
    rollingUpdate: rollingUpdateDeployment.optional().defaultWhen(rollingUpdateFor).proto(2),
  },
  { retainKeys: true },
)
export interface DeploymentStrategy extends Out<typeof deploymentStrategy> {}

export const deploymentSpec = object(
  'apps.v1.DeploymentSpec',
  {
    replicas: int32(0).optional().default(1).proto(1),
    selector: labelSelector.immutable().proto(2),
    template: podTemplateSpec.proto(3),
    strategy: deploymentStrategy.always().proto(4),
    minReadySeconds: int32(0).omitEmpty().proto(5),
    revisionHistoryLimit: int32(0).optional().default(10).proto(6),
    paused: bool().omitEmpty().proto(7),
    progressDeadlineSeconds: int32(0).optional().default(600).proto(9),
  },
)
export interface DeploymentSpec extends Out<typeof deploymentSpec> {}

export const deploymentCondition = object(
  'apps.v1.DeploymentCondition',
  {
    type: string().always().proto(1),
    status: oneOf('True', 'False', 'Unknown').always().proto(2),
    lastUpdateTime: time().omitEmpty().proto(6),
    lastTransitionTime: time().omitEmpty().proto(7),
    reason: string().omitEmpty().proto(4),
    message: string().omitEmpty().proto(5),
  },
  { reported: true },
)
export interface DeploymentCondition extends Out<typeof deploymentCondition> {}

export const deploymentStatus = object(
  'apps.v1.DeploymentStatus',
  {
    observedGeneration: int64().omitEmpty().proto(1),
    replicas: int32().omitEmpty().proto(2),
    updatedReplicas: int32().omitEmpty().proto(3),
    readyReplicas: int32().omitEmpty().proto(7),
    availableReplicas: int32().omitEmpty().proto(4),
    unavailableReplicas: int32().omitEmpty().proto(5),
    terminatingReplicas: int32().optional().proto(9),
    conditions: listBy(['type'], deploymentCondition, { patchKey: 'type' }).omitEmpty().proto(6),
    collisionCount: int32().optional().proto(8),
  },
  { reported: true },
)
export interface DeploymentStatus extends Out<typeof deploymentStatus> {}

export const Deployment = defineKind({
  group: 'apps',
  version: 'v1',
  kind: 'Deployment',
  plural: 'deployments',
  shortNames: ['deploy'],
  categories: ['all'],
  namespaced: true,
  generation: true,
  subresources: { status: true, scale: { replicas: 'spec.replicas', statusReplicas: 'status.replicas', selector: 'spec.selector' } },
  validate: deploymentRules,
  fields: {
    spec: deploymentSpec.proto(2),
    status: deploymentStatus.always().proto(3),
  },
})
export interface Deployment extends Stored<typeof Deployment> {}
export interface SubmittedDeployment extends Submitted<typeof Deployment> {}
