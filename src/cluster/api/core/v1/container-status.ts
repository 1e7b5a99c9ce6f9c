/** What is observed of one container, core/v1. */
import type { Out } from '#schema/vocabulary.ts'
import { bool, int32, int64, listBy, listOf, object, oneOf, string, time } from '#schema/vocabulary.ts'
import { resourceList, resourceRequirements } from './resources.ts'
import { signal } from './signal.ts'

export const containerStateWaiting = object(
  'core.v1.ContainerStateWaiting',
  {
    reason: string().omitEmpty().proto(1).doc('Why it waits: ContainerCreating, ErrImagePull, CrashLoopBackOff …'),
    message: string().omitEmpty().proto(2).doc('Why it waits, for people.'),
  },
  { reported: true, doc: 'The container has not started yet, or starts again.' },
)
export interface ContainerStateWaiting extends Out<typeof containerStateWaiting> {}

export const containerStateRunning = object(
  'core.v1.ContainerStateRunning',
  {
    startedAt: time().omitEmpty().proto(1).doc('When it started.'),
  },
  { reported: true, doc: 'The container runs.' },
)
export interface ContainerStateRunning extends Out<typeof containerStateRunning> {}

export const containerStateTerminated = object(
  'core.v1.ContainerStateTerminated',
  {
    exitCode: int32().proto(1).doc('Exit code.'),
    signal: int32().omitEmpty().proto(2).doc('Signal that ended it.'),
    reason: string().omitEmpty().proto(3).doc('Completed, Error, OOMKilled …'),
    message: string().omitEmpty().proto(4).doc('Termination message.'),
    startedAt: time().omitEmpty().proto(5).doc('When it started.'),
    finishedAt: time().omitEmpty().proto(6).doc('When it ended.'),
    containerID: string().omitEmpty().proto(7).doc('Id as <runtime>://<id>.'),
  },
  { reported: true, doc: 'The container has ended.' },
)
export interface ContainerStateTerminated extends Out<typeof containerStateTerminated> {}

export const containerState = object(
  'core.v1.ContainerState',
  {
    waiting: containerStateWaiting.optional().proto(1).doc('It has not started yet, or starts again.'),
    running: containerStateRunning.optional().proto(2).doc('It runs.'),
    terminated: containerStateTerminated.optional().proto(3).doc('It has ended.'),
  },
  { reported: true, doc: 'Exactly one of waiting, running and terminated; none means waiting.' },
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
    name: string().proto(1).doc('Name of the container.'),
    state: containerState.always().proto(2).doc('State now.'),
    lastState: containerState.always().proto(3).doc('State before the last restart.'),
    ready: bool().proto(4).doc('Whether it may get requests.'),
    restartCount: int32().proto(5).doc('How often it was restarted.'),
    image: string().proto(6).doc('Image it runs.'),
    imageID: string().proto(7).doc('Digest of the image.'),
    containerID: string().omitEmpty().proto(8).doc('Id as <runtime>://<id>.'),
    started: bool().optional().proto(9).doc('Whether the startup probe has succeeded.'),
    allocatedResources: resourceList.omitEmpty().proto(10).doc('Resources the node has set aside.'),
    resources: resourceRequirements.optional().proto(11).doc('Resources in force.'),
    volumeMounts: listBy(['mountPath'], volumeMountStatus, { patchKey: 'mountPath' }).omitEmpty().proto(12).doc('Mounts as they are.'),
    user: containerUser.optional().proto(13).doc('User and groups of the first process.'),
    allocatedResourcesStatus: listBy(['name'], resourceStatus, { patchKey: 'name' }).omitEmpty().proto(14),
    stopSignal: signal().optional().proto(15).doc('Signal that asks the container to end.'),
  },
  { reported: true, doc: 'What was last seen of a container.' },
)
export interface ContainerStatus extends Out<typeof containerStatus> {}
