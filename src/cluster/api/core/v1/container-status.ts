/** What is observed of one container, core/v1. */
import type { Out } from '#schema/vocabulary.ts'
import { bool, int32, int64, listBy, listOf, object, oneOf, string, time } from '#schema/vocabulary.ts'
import { resourceList, resourceRequirements } from './resources.ts'
import { signal } from './signal.ts'

export const containerStateWaiting = object(
  'core.v1.ContainerStateWaiting',
  {
    reason: string().omitEmpty().proto(1),
    message: string().omitEmpty().proto(2),
  },
  { reported: true },
)
export interface ContainerStateWaiting extends Out<typeof containerStateWaiting> {}

export const containerStateRunning = object(
  'core.v1.ContainerStateRunning',
  {
    startedAt: time().omitEmpty().proto(1),
  },
  { reported: true },
)
export interface ContainerStateRunning extends Out<typeof containerStateRunning> {}

export const containerStateTerminated = object(
  'core.v1.ContainerStateTerminated',
  {
    exitCode: int32().proto(1),
    signal: int32().omitEmpty().proto(2),
    reason: string().omitEmpty().proto(3),
    message: string().omitEmpty().proto(4),
    startedAt: time().omitEmpty().proto(5),
    finishedAt: time().omitEmpty().proto(6),
    containerID: string().omitEmpty().proto(7),
  },
  { reported: true },
)
export interface ContainerStateTerminated extends Out<typeof containerStateTerminated> {}

export const containerState = object(
  'core.v1.ContainerState',
  {
    waiting: containerStateWaiting.optional().proto(1),
    running: containerStateRunning.optional().proto(2),
    terminated: containerStateTerminated.optional().proto(3),
  },
  { reported: true },
)
export interface ContainerState extends Out<typeof containerState> {}

export const imageVolumeStatus = object(
  'core.v1.ImageVolumeStatus',
  {
    imageRef: string().proto(1),
  },
  { reported: true },
)
export interface ImageVolumeStatus extends Out<typeof imageVolumeStatus> {}

export const volumeStatus = object(
  'core.v1.VolumeStatus',
  {
    image: imageVolumeStatus.optional().proto(1),
  },
  { reported: true },
)
export interface VolumeStatus extends Out<typeof volumeStatus> {}

export const volumeMountStatus = object(
  'core.v1.VolumeMountStatus',
  {
    name: string().proto(1),
    mountPath: string().proto(2),
    readOnly: bool().omitEmpty().proto(3),
    recursiveReadOnly: oneOf('Disabled', 'IfPossible', 'Enabled').optional().proto(4),
    volumeStatus: volumeStatus.optional().proto(5),
  },
  { reported: true },
)
export interface VolumeMountStatus extends Out<typeof volumeMountStatus> {}

export const linuxContainerUser = object(
  'core.v1.LinuxContainerUser',
  {
    uid: int64().proto(1),
    gid: int64().proto(2),
    supplementalGroups: listOf(int64()).omitEmpty().proto(3),
  },
  { reported: true },
)
export interface LinuxContainerUser extends Out<typeof linuxContainerUser> {}

export const containerUser = object(
  'core.v1.ContainerUser',
  {
    linux: linuxContainerUser.optional().proto(1),
  },
)
export interface ContainerUser extends Out<typeof containerUser> {}

export const resourceHealth = object(
  'core.v1.ResourceHealth',
  {
    resourceID: string().proto(1),
    health: oneOf('Healthy', 'Unhealthy', 'Unknown').omitEmpty().proto(2),
    message: string().optional().proto(6),
  },
  { reported: true },
)
export interface ResourceHealth extends Out<typeof resourceHealth> {}

export const resourceStatus = object(
  'core.v1.ResourceStatus',
  {
    name: string().proto(1),
    resources: listBy(['resourceID'], resourceHealth).omitEmpty().proto(2),
  },
  { reported: true },
)
export interface ResourceStatus extends Out<typeof resourceStatus> {}

export const containerStatus = object(
  'core.v1.ContainerStatus',
  {
    name: string().proto(1),
    state: containerState.always().proto(2),
    lastState: containerState.always().proto(3),
    ready: bool().proto(4),
    restartCount: int32().proto(5),
    image: string().proto(6),
    imageID: string().proto(7),
    containerID: string().omitEmpty().proto(8),
    started: bool().optional().proto(9),
    allocatedResources: resourceList.omitEmpty().proto(10),
    resources: resourceRequirements.optional().proto(11),
    volumeMounts: listBy(['mountPath'], volumeMountStatus, { patchKey: 'mountPath' }).omitEmpty().proto(12),
    user: containerUser.optional().proto(13),
    allocatedResourcesStatus: listBy(['name'], resourceStatus, { patchKey: 'name' }).omitEmpty().proto(14),
    stopSignal: signal().optional().proto(15),
  },
  { reported: true },
)
export interface ContainerStatus extends Out<typeof containerStatus> {}
