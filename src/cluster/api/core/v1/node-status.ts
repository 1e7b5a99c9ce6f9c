/** NodeStatus, core/v1: what is observed of a node. */
import type { Out } from '#schema/vocabulary.ts'
import { bool, int32, int64, listBy, listOf, object, oneOf, string, time } from '#schema/vocabulary.ts'
import { capacityOf } from './node-defaults.ts'
import { resourceList } from './resources.ts'

export const nodeCondition = object(
  'core.v1.NodeCondition',
  {
    type: string().proto(1).doc('What is observed.'),
    status: oneOf('True', 'False', 'Unknown').proto(2).doc('True, False or Unknown.'),
    lastHeartbeatTime: time().omitEmpty().proto(3).doc('When the node last reported it.'),
    lastTransitionTime: time().omitEmpty().proto(4).doc('When the status last changed.'),
    reason: string().omitEmpty().proto(5).doc('Why, in one word.'),
    message: string().omitEmpty().proto(6).doc('Why, for people.'),
  },
  { reported: true, doc: 'One observation of a node.' },
)
export interface NodeCondition extends Out<typeof nodeCondition> {}

export const nodeAddress = object(
  'core.v1.NodeAddress',
  {
    type: string().proto(1).doc('Hostname, InternalIP, ExternalIP, InternalDNS or ExternalDNS.'),
    address: string().proto(2).doc('The address.'),
  },
  { reported: true, doc: 'An address of the node.' },
)
export interface NodeAddress extends Out<typeof nodeAddress> {}

export const daemonEndpoint = object(
  'core.v1.DaemonEndpoint',
  {
    Port: int32().proto(1).doc('Port number.'),
  },
  { reported: true },
)
export interface DaemonEndpoint extends Out<typeof daemonEndpoint> {}

export const nodeDaemonEndpoints = object(
  'core.v1.NodeDaemonEndpoints',
  {
    kubeletEndpoint: daemonEndpoint.always().proto(1).doc('Where the kubelet listens.'),
  },
)
export interface NodeDaemonEndpoints extends Out<typeof nodeDaemonEndpoints> {}

export const nodeSwapStatus = object(
  'core.v1.NodeSwapStatus',
  {
    capacity: int64().optional().proto(1).doc('Bytes of swap.'),
  },
  { reported: true },
)
export interface NodeSwapStatus extends Out<typeof nodeSwapStatus> {}

export const nodeSystemInfo = object(
  'core.v1.NodeSystemInfo',
  {
    machineID: string().proto(1).doc('Id of the installed system.'),
    systemUUID: string().proto(2).doc('Id of the hardware.'),
    bootID: string().proto(3).doc('Id of this boot.'),
    kernelVersion: string().proto(4).doc('Kernel release.'),
    osImage: string().proto(5).doc('Operating system and its version.'),
    containerRuntimeVersion: string().proto(6).doc('Container runtime and its version.'),
    kubeletVersion: string().proto(7).doc('Version of the kubelet.'),
    kubeProxyVersion: string().proto(8).doc('No longer set.'),
    operatingSystem: string().proto(9).doc('Such as linux.'),
    architecture: string().proto(10).doc('Such as amd64.'),
    swap: nodeSwapStatus.optional().proto(11).doc('Swap of the node.'),
  },
  { reported: true, doc: 'What runs on the node, and in which version.' },
)
export interface NodeSystemInfo extends Out<typeof nodeSystemInfo> {}

export const containerImage = object(
  'core.v1.ContainerImage',
  {
    names: listOf(string()).omitEmpty().proto(1).doc('Names of the image.'),
    sizeBytes: int64().omitEmpty().proto(2).doc('Bytes of the image.'),
  },
  { reported: true, doc: 'An image that is on the node.' },
)
export interface ContainerImage extends Out<typeof containerImage> {}

export const attachedVolume = object(
  'core.v1.AttachedVolume',
  {
    name: string().proto(1),
    devicePath: string().proto(2),
  },
  { reported: true },
)
export interface AttachedVolume extends Out<typeof attachedVolume> {}

export const configMapNodeConfigSource = object(
  'core.v1.ConfigMapNodeConfigSource',
  {
    namespace: string().proto(1),
    name: string().proto(2),
    uid: string().omitEmpty().proto(3),
    resourceVersion: string().omitEmpty().proto(4),
    kubeletConfigKey: string().proto(5),
  },
)
export interface ConfigMapNodeConfigSource extends Out<typeof configMapNodeConfigSource> {}

export const nodeConfigSource = object(
  'core.v1.NodeConfigSource',
  {
    configMap: configMapNodeConfigSource.optional().proto(2),
  },
)
export interface NodeConfigSource extends Out<typeof nodeConfigSource> {}

export const nodeConfigStatus = object(
  'core.v1.NodeConfigStatus',
  {
    assigned: nodeConfigSource.optional().proto(1),
    active: nodeConfigSource.optional().proto(2),
    lastKnownGood: nodeConfigSource.optional().proto(3),
    error: string().omitEmpty().proto(4),
  },
  { reported: true },
)
export interface NodeConfigStatus extends Out<typeof nodeConfigStatus> {}

export const nodeRuntimeHandlerFeatures = object(
  'core.v1.NodeRuntimeHandlerFeatures',
  {
    recursiveReadOnlyMounts: bool().optional().proto(1),
    userNamespaces: bool().optional().proto(2),
  },
  { reported: true },
)
export interface NodeRuntimeHandlerFeatures extends Out<typeof nodeRuntimeHandlerFeatures> {}

export const nodeRuntimeHandler = object(
  'core.v1.NodeRuntimeHandler',
  {
    name: string().always().proto(1),
    features: nodeRuntimeHandlerFeatures.optional().proto(2),
  },
  { reported: true },
)
export interface NodeRuntimeHandler extends Out<typeof nodeRuntimeHandler> {}

export const nodeFeatures = object(
  'core.v1.NodeFeatures',
  {
    supplementalGroupsPolicy: bool().optional().proto(1),
  },
)
export interface NodeFeatures extends Out<typeof nodeFeatures> {}

export const nodeStatus = object(
  'core.v1.NodeStatus',
  {
    capacity: resourceList.omitEmpty().proto(1).doc('All resources of the node.'),
    allocatable: resourceList.omitEmpty().defaultWhen(capacityOf).proto(2).doc('Resources for pods.'),
    phase: oneOf('Pending', 'Running', 'Terminated').omitEmpty().proto(3),
    conditions: listBy(['type'], nodeCondition, { patchKey: 'type' }).omitEmpty().proto(4).doc('Observations: Ready, MemoryPressure, DiskPressure …'),
    addresses: listBy(['type'], nodeAddress, { patchKey: 'type' }).omitEmpty().proto(5).doc('How the node is reached.'),
    daemonEndpoints: nodeDaemonEndpoints.always().proto(6).doc('Where the kubelet listens.'),
    nodeInfo: nodeSystemInfo.always().proto(7).doc('Versions of what runs there.'),
    images: listOf(containerImage).omitEmpty().proto(8).doc('Images on the node.'),
    volumesInUse: listOf(string()).omitEmpty().proto(9).doc('Volumes that are mounted.'),
    volumesAttached: listOf(attachedVolume).omitEmpty().proto(10).doc('Volumes that are attached.'),
    config: nodeConfigStatus.optional().proto(11),
    runtimeHandlers: listOf(nodeRuntimeHandler).omitEmpty().proto(12).doc('Runtime classes the node offers.'),
    features: nodeFeatures.optional().proto(13).doc('What the container runtime can do.'),
    declaredFeatures: listOf(string()).omitEmpty().proto(14),
  },
  { reported: true, doc: 'What the node reports of itself.' },
)
export interface NodeStatus extends Out<typeof nodeStatus> {}
