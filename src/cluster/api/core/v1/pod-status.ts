/** PodStatus, core/v1: what is observed of a pod. */
import type { Out } from '#schema/vocabulary.ts'
import { int64, listBy, listOf, object, oneOf, quantity, setOf, string, time } from '#schema/vocabulary.ts'
import { containerStatus } from './container-status.ts'
import { resourceList, resourceRequirements } from './resources.ts'

export const podCondition = object(
  'core.v1.PodCondition',
  {
    type: string().proto(1),
    observedGeneration: int64().omitEmpty().proto(7),
    status: oneOf('True', 'False', 'Unknown').proto(2),
    lastProbeTime: time().omitEmpty().proto(3),
    lastTransitionTime: time().omitEmpty().proto(4),
    reason: string().omitEmpty().proto(5),
    message: string().omitEmpty().proto(6),
  },
  { reported: true },
)
export interface PodCondition extends Out<typeof podCondition> {}

export const hostIP = object(
  'core.v1.HostIP',
  {
    ip: string().proto(1),
  },
  { reported: true },
)
export interface HostIP extends Out<typeof hostIP> {}

export const podIP = object(
  'core.v1.PodIP',
  {
    ip: string().proto(1),
  },
  { reported: true },
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
    observedGeneration: int64().omitEmpty().proto(17),
    phase: oneOf('Pending', 'Running', 'Succeeded', 'Failed', 'Unknown').omitEmpty().proto(1),
    conditions: listBy(['type'], podCondition, { patchKey: 'type' }).omitEmpty().proto(2),
    message: string().omitEmpty().proto(3),
    reason: string().omitEmpty().proto(4),
    nominatedNodeName: string().omitEmpty().proto(11),
    hostIP: string().omitEmpty().proto(5),
    hostIPs: listOf(hostIP, { patchKey: 'ip' }).omitEmpty().proto(16),
    podIP: string().omitEmpty().proto(6),
    podIPs: listBy(['ip'], podIP, { patchKey: 'ip' }).omitEmpty().proto(12),
    startTime: time().optional().proto(7),
    initContainerStatuses: listOf(containerStatus).omitEmpty().proto(10),
    containerStatuses: listOf(containerStatus).omitEmpty().proto(8),
    qosClass: oneOf('Guaranteed', 'Burstable', 'BestEffort').omitEmpty().proto(9),
    ephemeralContainerStatuses: listOf(containerStatus).omitEmpty().proto(13),
    resize: oneOf('InProgress', 'Deferred', 'Infeasible').omitEmpty().proto(14),
    resourceClaimStatuses: listBy(['name'], podResourceClaimStatus, { patchKey: 'name' }).omitEmpty().proto(15),
    extendedResourceClaimStatus: podExtendedResourceClaimStatus.optional().proto(18),
    allocatedResources: resourceList.omitEmpty().proto(19),
    resources: resourceRequirements.optional().proto(20),
    nodeAllocatableResourceClaimStatuses: listBy(['resourceClaimName'], nodeAllocatableResourceClaimStatus, { patchKey: 'resourceClaimName' }).omitEmpty().proto(21),
    volumeHealth: listBy(['name'], podVolumeHealth).omitEmpty().proto(22),
  },
  { reported: true },
)
export interface PodStatus extends Out<typeof podStatus> {}
