/** Containers of a pod, core/v1: plain, init and ephemeral. */
import type { Out } from '#schema/vocabulary.ts'
import { bool, dnsLabel, int32, listBy, listOf, object, oneOf, setOf, string, within } from '#schema/vocabulary.ts'
import { envFromSource, envVar } from './env.ts'
import { pullPolicyFor } from './pod-defaults.ts'
import { lifecycle, probe } from './probe.ts'
import { resourceRequirements } from './resources.ts'
import { securityContext } from './security-context.ts'

export const containerPort = object(
  'core.v1.ContainerPort',
  {
    name: string({ format: 'portName' }).omitEmpty().proto(1).doc('Name that services can refer to.'),
    hostPort: int32(0, 65535).omitEmpty().proto(2).doc('Port on the node that leads here.'),
    containerPort: int32(1, 65535).proto(3).doc('Port number in the container.'),
    protocol: oneOf('TCP', 'UDP', 'SCTP').omitEmpty().default('TCP').proto(4).doc('TCP, UDP or SCTP.'),
    hostIP: string().omitEmpty().proto(5).doc('Address of the node to bind to.'),
  },
  { doc: 'A port the container listens on.' },
)
export interface ContainerPort extends Out<typeof containerPort> {}

export const containerResizePolicy = object(
  'core.v1.ContainerResizePolicy',
  {
    resourceName: string().proto(1).doc('Resource.'),
    restartPolicy: oneOf('NotRequired', 'RestartContainer').proto(2).doc('NotRequired or RestartContainer.'),
  },
  { doc: 'Whether a change of a resource restarts the container.' },
)
export interface ContainerResizePolicy extends Out<typeof containerResizePolicy> {}

export const containerRestartRuleOnExitCodes = object(
  'core.v1.ContainerRestartRuleOnExitCodes',
  {
    operator: oneOf('In', 'NotIn').proto(1),
    values: setOf(int32()).omitEmpty().proto(2),
  },
)
export interface ContainerRestartRuleOnExitCodes extends Out<typeof containerRestartRuleOnExitCodes> {}

export const containerRestartRule = object(
  'core.v1.ContainerRestartRule',
  {
    action: oneOf('Restart', 'RestartAllContainers').proto(1),
    exitCodes: containerRestartRuleOnExitCodes.optional().proto(2),
  },
  { doc: 'When to restart whatever the policy says.' },
)
export interface ContainerRestartRule extends Out<typeof containerRestartRule> {}

export const volumeMount = object(
  'core.v1.VolumeMount',
  {
    name: string().proto(1).doc('Name of the volume.'),
    readOnly: bool().omitEmpty().proto(2).doc('True makes it read-only.'),
    recursiveReadOnly: oneOf('Disabled', 'IfPossible', 'Enabled').optional().proto(7).doc('Whether read-only holds for mounts below too.'),
    mountPath: string().proto(3).doc('Where it appears in the container.'),
    subPath: string().omitEmpty().proto(4).doc('Path in the volume instead of its root.'),
    mountPropagation: oneOf('None', 'HostToContainer', 'Bidirectional').optional().proto(5).doc('Whether mounts pass between node and container.'),
    subPathExpr: string().omitEmpty().proto(6).doc('Like subPath, with $(NAME) replaced by variables.'),
    bindMountOptions: setOf(string()).omitEmpty().proto(8),
  },
  { doc: 'Where a volume appears in the container.' },
)
export interface VolumeMount extends Out<typeof volumeMount> {}

export const volumeDevice = object(
  'core.v1.VolumeDevice',
  {
    name: string().proto(1).doc('Name of the volume.'),
    devicePath: string().proto(2).doc('Where it appears in the container.'),
  },
  { doc: 'Where a block device appears in the container.' },
)
export interface VolumeDevice extends Out<typeof volumeDevice> {}

/** Of a plain container, and of an ephemeral one, which has them one level down. */
const containerFields = {
  name: dnsLabel().proto(1).doc('Name, unique in the pod.'),
  image: string().omitEmpty().proto(2).doc('Image to run.'),
  command: listOf(string()).omitEmpty().proto(3).doc('Program instead of the image\'s entry point. $(NAME) is replaced by the variable.'),
  args: listOf(string()).omitEmpty().proto(4).doc('Arguments instead of the image\'s. $(NAME) is replaced by the variable.'),
  workingDir: string().omitEmpty().proto(5).doc('Directory to start in.'),
  ports: listBy(['containerPort', 'protocol'], containerPort, { patchKey: 'containerPort' }).omitEmpty().proto(6).doc('Ports the container listens on.'),
  envFrom: listOf(envFromSource).omitEmpty().proto(19).doc('Config maps and secrets whose keys become variables.'),
  env: listBy(['name'], envVar, { patchKey: 'name' }).omitEmpty().proto(7).doc('Environment variables.'),
  resources: resourceRequirements.always().proto(8).doc('Compute resources reserved and allowed.'),
  resizePolicy: listOf(containerResizePolicy).omitEmpty().proto(23).doc('Which resources can change without a restart.'),
  restartPolicy: oneOf('Always', 'Never', 'OnFailure').optional().proto(24).doc('For init containers: Always makes it a sidecar that runs beside the others.'),
  restartPolicyRules: listOf(containerRestartRule).omitEmpty().proto(25),
  volumeMounts: listBy(['mountPath'], volumeMount, { patchKey: 'mountPath' }).omitEmpty().proto(9).doc('Volumes to mount.'),
  volumeDevices: listBy(['devicePath'], volumeDevice, { patchKey: 'devicePath' }).omitEmpty().proto(21).doc('Block devices to show.'),
  livenessProbe: probe.optional().proto(10).doc('When it fails, the container is restarted.'),
  readinessProbe: probe.optional().proto(11).doc('When it fails, services send nothing to the pod.'),
  startupProbe: probe.optional().proto(22).doc('Until it succeeds, the other probes wait.'),
  lifecycle: lifecycle.optional().proto(12).doc('Actions after the start and before the end.'),
  terminationMessagePath: string().omitEmpty().default('/dev/termination-log').proto(13).doc('File whose content becomes the termination message.'),
  terminationMessagePolicy: oneOf('File', 'FallbackToLogsOnError').omitEmpty().default('File').proto(20).doc('File, or the end of the log when the file is empty and the container failed.'),
  imagePullPolicy: oneOf('Always', 'Never', 'IfNotPresent').omitEmpty().default(pullPolicyFor).proto(14).doc('Always, IfNotPresent or Never. Without a tag or with latest: Always; else IfNotPresent.'),
  securityContext: securityContext.optional().proto(15).doc('What the container may do; wins over the pod\'s.'),
  stdin: bool().omitEmpty().proto(16).doc('True keeps standard input open.'),
  stdinOnce: bool().omitEmpty().proto(17).doc('True closes standard input after the first client.'),
  tty: bool().omitEmpty().proto(18).doc('True gives the container a terminal; needs stdin.'),
}

export const container = object('core.v1.Container', containerFields, { doc: 'One program run from an image.' })
export interface Container extends Out<typeof container> {}

export const ephemeralContainer = object(
  'core.v1.EphemeralContainer',
  {
    ...within(1, containerFields),
    targetContainerName: string().omitEmpty().proto(2).doc('Container whose processes it should see.'),
  },
  { doc: 'A container added to a running pod, for debugging.' },
)
export interface EphemeralContainer extends Out<typeof ephemeralContainer> {}
