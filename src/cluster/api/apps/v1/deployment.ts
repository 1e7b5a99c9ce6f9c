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
    maxUnavailable: intOrString().optional().default('25%').proto(1).doc('So many pods may be missing, as a number or percentage (rounded down).'),
    maxSurge: intOrString().optional().default('25%').proto(2).doc('So many pods may be added, as a number or percentage (rounded up).'),
  },
  { doc: 'How many pods a rolling update may add and miss.' },
)
export interface RollingUpdateDeployment extends Out<typeof rollingUpdateDeployment> {}

export const deploymentStrategy = object(
  'apps.v1.DeploymentStrategy',
  {
    type: oneOf('Recreate', 'RollingUpdate').omitEmpty().default('RollingUpdate').proto(1).doc('RollingUpdate, or Recreate to end all old pods first.'),
    rollingUpdate: rollingUpdateDeployment.optional().defaultWhen(rollingUpdateFor).proto(2).doc('How many pods a rolling update may add and miss.'),
  },
  { retainKeys: true, doc: 'How old pods give way to new ones.' },
)
export interface DeploymentStrategy extends Out<typeof deploymentStrategy> {}

export const deploymentSpec = object(
  'apps.v1.DeploymentSpec',
  {
    replicas: int32(0).optional().default(1).proto(1).doc('How many pods.'),
    selector: labelSelector.immutable().proto(2).doc('Which pods belong to it; must match the template\'s labels and never changes.'),
    template: podTemplateSpec.proto(3).doc('What the pods are made from.'),
    strategy: deploymentStrategy.always().proto(4).doc('How old pods give way to new ones.'),
    minReadySeconds: int32(0).omitEmpty().proto(5).doc('Seconds a pod must be ready to count as available.'),
    revisionHistoryLimit: int32(0).optional().default(10).proto(6).doc('Old revisions to keep for roll-backs.'),
    paused: bool().omitEmpty().proto(7).doc('True lets template changes wait.'),
    progressDeadlineSeconds: int32(0).optional().default(600).proto(9).doc('Seconds without progress after which a roll-out has failed.'),
  },
  { doc: 'What should run, how often, and how changes roll out.' },
)
export interface DeploymentSpec extends Out<typeof deploymentSpec> {}

export const deploymentCondition = object(
  'apps.v1.DeploymentCondition',
  {
    type: string().always().proto(1).doc('What is observed.'),
    status: oneOf('True', 'False', 'Unknown').always().proto(2).doc('True, False or Unknown.'),
    lastUpdateTime: time().omitEmpty().proto(6).doc('When it was last written.'),
    lastTransitionTime: time().omitEmpty().proto(7).doc('When the status last changed.'),
    reason: string().omitEmpty().proto(4).doc('Why, in one word.'),
    message: string().omitEmpty().proto(5).doc('Why, for people.'),
  },
  { reported: true, doc: 'One observation of a deployment.' },
)
export interface DeploymentCondition extends Out<typeof deploymentCondition> {}

export const deploymentStatus = object(
  'apps.v1.DeploymentStatus',
  {
    observedGeneration: int64().omitEmpty().proto(1).doc('Generation that the status is about.'),
    replicas: int32().omitEmpty().proto(2).doc('Pods there.'),
    updatedReplicas: int32().omitEmpty().proto(3).doc('Pods made from the current template.'),
    readyReplicas: int32().omitEmpty().proto(7).doc('Pods ready.'),
    availableReplicas: int32().omitEmpty().proto(4).doc('Pods available.'),
    unavailableReplicas: int32().omitEmpty().proto(5).doc('Pods still missing.'),
    terminatingReplicas: int32().optional().proto(9).doc('Pods that are ending.'),
    conditions: listBy(['type'], deploymentCondition, { patchKey: 'type' }).omitEmpty().proto(6).doc('Observations: Available, Progressing, ReplicaFailure.'),
    collisionCount: int32().optional().proto(8).doc('How often a replica set\'s name was taken.'),
  },
  { reported: true, doc: 'How far the roll-out is.' },
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
  doc: 'Rolls a pod template out to a number of replicas and can roll it back.',
  fields: {
    spec: deploymentSpec.proto(2).doc('What should run.'),
    status: deploymentStatus.always().proto(3).doc('How far the roll-out is.'),
  },
})
export interface Deployment extends Stored<typeof Deployment> {}
export interface SubmittedDeployment extends Submitted<typeof Deployment> {}
