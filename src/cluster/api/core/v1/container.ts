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
    name: string({ format: 'portName' }).omitEmpty().proto(1),
    hostPort: int32(0, 65535).omitEmpty().proto(2),
    containerPort: int32(1, 65535).proto(3),
    protocol: oneOf('TCP', 'UDP', 'SCTP').omitEmpty().default('TCP').proto(4),
    hostIP: string().omitEmpty().proto(5),
  },
)
export interface ContainerPort extends Out<typeof containerPort> {}

export const containerResizePolicy = object(
  'core.v1.ContainerResizePolicy',
  {
    resourceName: string().proto(1),
    restartPolicy: oneOf('NotRequired', 'RestartContainer').proto(2),
  },
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
)
export interface ContainerRestartRule extends Out<typeof containerRestartRule> {}

export const volumeMount = object(
  'core.v1.VolumeMount',
  {
    name: string().proto(1),
    readOnly: bool().omitEmpty().proto(2),
    recursiveReadOnly: oneOf('Disabled', 'IfPossible', 'Enabled').optional().proto(7),
    mountPath: string().proto(3),
    subPath: string().omitEmpty().proto(4),
    mountPropagation: oneOf('None', 'HostToContainer', 'Bidirectional').optional().proto(5),
    subPathExpr: string().omitEmpty().proto(6),
    bindMountOptions: setOf(string()).omitEmpty().proto(8),
  },
)
export interface VolumeMount extends Out<typeof volumeMount> {}

export const volumeDevice = object(
  'core.v1.VolumeDevice',
  {
    name: string().proto(1),
    devicePath: string().proto(2),
  },
)
export interface VolumeDevice extends Out<typeof volumeDevice> {}

export const container = object(
  'core.v1.Container',
  {
    name: dnsLabel().proto(1),
    image: string().omitEmpty().proto(2),
    command: listOf(string()).omitEmpty().proto(3),
    args: listOf(string()).omitEmpty().proto(4),
    workingDir: string().omitEmpty().proto(5),
    ports: listBy(['containerPort', 'protocol'], containerPort, { patchKey: 'containerPort' }).omitEmpty().proto(6),
    envFrom: listOf(envFromSource).omitEmpty().proto(19),
    env: listBy(['name'], envVar, { patchKey: 'name' }).omitEmpty().proto(7),
    resources: resourceRequirements.always().proto(8),
    resizePolicy: listOf(containerResizePolicy).omitEmpty().proto(23),
    restartPolicy: oneOf('Always', 'Never', 'OnFailure').optional().proto(24),
    restartPolicyRules: listOf(containerRestartRule).omitEmpty().proto(25),
    volumeMounts: listBy(['mountPath'], volumeMount, { patchKey: 'mountPath' }).omitEmpty().proto(9),
    volumeDevices: listBy(['devicePath'], volumeDevice, { patchKey: 'devicePath' }).omitEmpty().proto(21),
    livenessProbe: probe.optional().proto(10),
    readinessProbe: probe.optional().proto(11),
    startupProbe: probe.optional().proto(22),
    lifecycle: lifecycle.optional().proto(12),
    terminationMessagePath: string().omitEmpty().default('/dev/termination-log').proto(13),
    terminationMessagePolicy: oneOf('File', 'FallbackToLogsOnError').omitEmpty().default('File').proto(20),
    imagePullPolicy: oneOf('Always', 'Never', 'IfNotPresent').omitEmpty().default(pullPolicyFor).proto(14),
    securityContext: securityContext.optional().proto(15),
    stdin: bool().omitEmpty().proto(16),
    stdinOnce: bool().omitEmpty().proto(17),
    tty: bool().omitEmpty().proto(18),
  },
)
export interface Container extends Out<typeof container> {}

export const ephemeralContainer = object(
  'core.v1.EphemeralContainer',
  {
    ...within(1, {
      name: dnsLabel().proto(1),
      image: string().omitEmpty().proto(2),
      command: listOf(string()).omitEmpty().proto(3),
      args: listOf(string()).omitEmpty().proto(4),
      workingDir: string().omitEmpty().proto(5),
      ports: listBy(['containerPort', 'protocol'], containerPort, { patchKey: 'containerPort' }).omitEmpty().proto(6),
      envFrom: listOf(envFromSource).omitEmpty().proto(19),
      env: listBy(['name'], envVar, { patchKey: 'name' }).omitEmpty().proto(7),
      resources: resourceRequirements.always().proto(8),
      resizePolicy: listOf(containerResizePolicy).omitEmpty().proto(23),
      restartPolicy: oneOf('Always', 'Never', 'OnFailure').optional().proto(24),
      restartPolicyRules: listOf(containerRestartRule).omitEmpty().proto(25),
      volumeMounts: listBy(['mountPath'], volumeMount, { patchKey: 'mountPath' }).omitEmpty().proto(9),
      volumeDevices: listBy(['devicePath'], volumeDevice, { patchKey: 'devicePath' }).omitEmpty().proto(21),
      livenessProbe: probe.optional().proto(10),
      readinessProbe: probe.optional().proto(11),
      startupProbe: probe.optional().proto(22),
      lifecycle: lifecycle.optional().proto(12),
      terminationMessagePath: string().omitEmpty().default('/dev/termination-log').proto(13),
      terminationMessagePolicy: oneOf('File', 'FallbackToLogsOnError').omitEmpty().default('File').proto(20),
      imagePullPolicy: oneOf('Always', 'Never', 'IfNotPresent').omitEmpty().default(pullPolicyFor).proto(14),
      securityContext: securityContext.optional().proto(15),
      stdin: bool().omitEmpty().proto(16),
      stdinOnce: bool().omitEmpty().proto(17),
      tty: bool().omitEmpty().proto(18),
    }),
    targetContainerName: string().omitEmpty().proto(2),
  },
)
export interface EphemeralContainer extends Out<typeof ephemeralContainer> {}
