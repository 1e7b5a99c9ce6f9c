/** PodStatus, core/v1: what is observed of a pod. */
import type { Out } from '#schema/vocabulary.ts'
import { int64, listBy, listOf, object, oneOf, quantity, setOf, string, time } from '#schema/vocabulary.ts'
import { containerStatus } from './container-status.ts'
import { resourceList, resourceRequirements } from './resources.ts'

export const podCondition = object(
  'core.v1.PodCondition',
  {
    type: string().proto(1).doc('What is observed.'),
    observedGeneration: int64().omitEmpty().proto(7).doc('Generation that was observed.'),
    status: oneOf('True', 'False', 'Unknown').proto(2).doc('True, False or Unknown.'),
    lastProbeTime: time().omitEmpty().proto(3).doc('When it was last looked at.'),
    lastTransitionTime: time().omitEmpty().proto(4).doc('When the status last changed.'),
    reason: string().omitEmpty().proto(5).doc('Why, in one word.'),
    message: string().omitEmpty().proto(6).doc('Why, for people.'),
  },
  { reported: true, doc: 'One observation of a pod.' },
)
export interface PodCondition extends Out<typeof podCondition> {}

export const hostIP = object(
  'core.v1.HostIP',
  {
    ip: string().proto(1).doc('Address.'),
  },
  { reported: true, doc: 'An address of the node.' },
)
export interface HostIP extends Out<typeof hostIP> {}

export const podIP = object(
  'core.v1.PodIP',
  {
    ip: string().proto(1).doc('Address.'),
  },
  { reported: true, doc: 'An address of the pod.' },
)
export interface PodIP extends Out<typeof podIP> {}

export const podResourceClaimStatus = object(
  'core.v1.PodResourceClaimStatus',
  {
    name: string().proto(1),
    resourceClaimName: string().optional().proto(2),
  },
  { retainKeys: true, reported: true },
)
export interface PodResourceClaimStatus extends Out<typeof podResourceClaimStatus> {}

export const containerExtendedResourceRequest = object(
  'core.v1.ContainerExtendedResourceRequest',
  {
    containerName: string().proto(1),
    resourceName: string().proto(2),
    requestName: string().proto(3),
  },
  { reported: true },
)
export interface ContainerExtendedResourceRequest extends Out<typeof containerExtendedResourceRequest> {}

export const podExtendedResourceClaimStatus = object(
  'core.v1.PodExtendedResourceClaimStatus',
  {
    requestMappings: listOf(containerExtendedResourceRequest).proto(1),
    resourceClaimName: string().proto(2),
  },
  { reported: true },
)
export interface PodExtendedResourceClaimStatus extends Out<typeof podExtendedResourceClaimStatus> {}

export const nodeAllocatableMappedResources = object(
  'core.v1.NodeAllocatableMappedResources',
  {
    name: string().proto(1),
    quantity: quantity().proto(2),
  },
  { reported: true },
)
export interface NodeAllocatableMappedResources extends Out<typeof nodeAllocatableMappedResources> {}

export const nodeAllocatableOverheadResources = object(
  'core.v1.NodeAllocatableOverheadResources',
  {
    name: string().proto(1),
    perPod: quantity().optional().proto(2),
    perContainer: quantity().optional().proto(3),
  },
  { reported: true },
)
export interface NodeAllocatableOverheadResources extends Out<typeof nodeAllocatableOverheadResources> {}

export const nodeAllocatableResourceClaimStatus = object(
  'core.v1.NodeAllocatableResourceClaimStatus',
  {
    resourceClaimName: string().proto(1),
    containers: setOf(string()).omitEmpty().proto(2),
    mapping: listBy(['name'], nodeAllocatableMappedResources, { patchKey: 'name' }).omitEmpty().proto(4),
    overhead: listBy(['name'], nodeAllocatableOverheadResources, { patchKey: 'name' }).omitEmpty().proto(5),
  },
  { reported: true },
)
export interface NodeAllocatableResourceClaimStatus extends Out<typeof nodeAllocatableResourceClaimStatus> {}

export const volumeHealthCondition = object(
  'core.v1.VolumeHealthCondition',
  {
    status: oneOf('Inaccessible', 'DataLoss', 'Degraded').proto(1),
    reason: string().proto(2),
    message: string().omitEmpty().proto(3),
  },
  { reported: true },
)
export interface VolumeHealthCondition extends Out<typeof volumeHealthCondition> {}

export const podVolumeHealth = object(
  'core.v1.PodVolumeHealth',
  {
    name: string().proto(1),
    healthConditions: listBy(['status', 'reason'], volumeHealthCondition, { patchKey: 'status' }).omitEmpty().proto(2),
    lastTransitionTime: time().omitEmpty().proto(3),
  },
  { reported: true },
)
export interface PodVolumeHealth extends Out<typeof podVolumeHealth> {}

export const podStatus = object(
  'core.v1.PodStatus',
  {
    observedGeneration: int64().omitEmpty().proto(17).doc('Generation that the status is about.'),
    phase: oneOf('Pending', 'Running', 'Succeeded', 'Failed', 'Unknown').omitEmpty().proto(1).doc('Pending, Running, Succeeded, Failed or Unknown.'),
    conditions: listBy(['type'], podCondition, { patchKey: 'type' }).omitEmpty().proto(2).doc('Observations: PodScheduled, Initialized, ContainersReady, Ready …'),
    message: string().omitEmpty().proto(3).doc('Why the pod is in this state, for people.'),
    reason: string().omitEmpty().proto(4).doc('Why the pod is in this state, in one word.'),
    nominatedNodeName: string().omitEmpty().proto(11).doc('Node that is being cleared for the pod.'),
    hostIP: string().omitEmpty().proto(5).doc('Address of the node.'),
    hostIPs: listOf(hostIP, { patchKey: 'ip' }).omitEmpty().proto(16).doc('Addresses of the node.'),
    podIP: string().omitEmpty().proto(6).doc('Address of the pod.'),
    podIPs: listBy(['ip'], podIP, { patchKey: 'ip' }).omitEmpty().proto(12).doc('Addresses of the pod.'),
    startTime: time().optional().proto(7).doc('When the node took the pod on.'),
    initContainerStatuses: listOf(containerStatus).omitEmpty().proto(10).doc('Of the init containers.'),
    containerStatuses: listOf(containerStatus).omitEmpty().proto(8).doc('Of the containers.'),
    qosClass: oneOf('Guaranteed', 'Burstable', 'BestEffort').omitEmpty().proto(9).doc('Guaranteed, Burstable or BestEffort, by requests and limits.'),
    ephemeralContainerStatuses: listOf(containerStatus).omitEmpty().proto(13).doc('Of the ephemeral containers.'),
    resize: oneOf('InProgress', 'Deferred', 'Infeasible').omitEmpty().proto(14).doc('Whether a change of resources is in progress.'),
    resourceClaimStatuses: listBy(['name'], podResourceClaimStatus, { patchKey: 'name' }).omitEmpty().proto(15),
    extendedResourceClaimStatus: podExtendedResourceClaimStatus.optional().proto(18),
    allocatedResources: resourceList.omitEmpty().proto(19),
    resources: resourceRequirements.optional().proto(20).doc('Resources in force for the pod as a whole.'),
    nodeAllocatableResourceClaimStatuses: listBy(['resourceClaimName'], nodeAllocatableResourceClaimStatus, { patchKey: 'resourceClaimName' }).omitEmpty().proto(21),
    volumeHealth: listBy(['name'], podVolumeHealth).omitEmpty().proto(22),
  },
  { reported: true, doc: 'What a pod was last seen to be.' },
)
export interface PodStatus extends Out<typeof podStatus> {}
