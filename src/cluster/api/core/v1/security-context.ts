/** Security settings of pods and containers, core/v1. */
import type { Out } from '#schema/vocabulary.ts'
import { bool, int64, listOf, object, oneOf, string } from '#schema/vocabulary.ts'

export const capabilities = object(
  'core.v1.Capabilities',
  {
    add: listOf(string()).omitEmpty().proto(1),
    drop: listOf(string()).omitEmpty().proto(2),
  },
)
export interface Capabilities extends Out<typeof capabilities> {}

export const seLinuxOptions = object(
  'core.v1.SELinuxOptions',
  {
    user: string().omitEmpty().proto(1),
    role: string().omitEmpty().proto(2),
    type: string().omitEmpty().proto(3),
    level: string().omitEmpty().proto(4),
  },
)
export interface SELinuxOptions extends Out<typeof seLinuxOptions> {}

export const windowsSecurityContextOptions = object(
  'core.v1.WindowsSecurityContextOptions',
  {
    gmsaCredentialSpecName: string().optional().proto(1),
    gmsaCredentialSpec: string().optional().proto(2),
    runAsUserName: string().optional().proto(3),
    hostProcess: bool().optional().proto(4),
  },
)
export interface WindowsSecurityContextOptions extends Out<typeof windowsSecurityContextOptions> {}

export const seccompProfile = object(
  'core.v1.SeccompProfile',
  {
    type: oneOf('Unconfined', 'RuntimeDefault', 'Localhost').proto(1),
    localhostProfile: string().optional().proto(2),
  },
)
export interface SeccompProfile extends Out<typeof seccompProfile> {}

export const appArmorProfile = object(
  'core.v1.AppArmorProfile',
  {
    type: oneOf('Unconfined', 'RuntimeDefault', 'Localhost').proto(1),
    localhostProfile: string().optional().proto(2),
  },
)
export interface AppArmorProfile extends Out<typeof appArmorProfile> {}

export const securityContext = object(
  'core.v1.SecurityContext',
  {
    capabilities: capabilities.optional().proto(1),
    privileged: bool().optional().proto(2),
    seLinuxOptions: seLinuxOptions.optional().proto(3),
    windowsOptions: windowsSecurityContextOptions.optional().proto(10),
    runAsUser: int64(0, 2147483647).optional().proto(4),
    runAsGroup: int64(0, 2147483647).optional().proto(8),
    runAsNonRoot: bool().optional().proto(5),
    readOnlyRootFilesystem: bool().optional().proto(6),
    allowPrivilegeEscalation: bool().optional().proto(7),
    procMount: oneOf('Default', 'Unmasked').optional().proto(9),
    seccompProfile: seccompProfile.optional().proto(11),
    appArmorProfile: appArmorProfile.optional().proto(12),
  },
)
export interface SecurityContext extends Out<typeof securityContext> {}

export const sysctl = object(
  'core.v1.Sysctl',
  {
    name: string().proto(1),
    value: string().always().proto(2),
  },
)
export interface Sysctl extends Out<typeof sysctl> {}

export const podSecurityContext = object(
  'core.v1.PodSecurityContext',
  {
    seLinuxOptions: seLinuxOptions.optional().proto(1),
    windowsOptions: windowsSecurityContextOptions.optional().proto(8),
    runAsUser: int64(0, 2147483647).optional().proto(2),
    runAsGroup: int64(0, 2147483647).optional().proto(6),
    runAsNonRoot: bool().optional().proto(3),
    supplementalGroups: listOf(int64()).omitEmpty().proto(4),
    supplementalGroupsPolicy: oneOf('Merge', 'Strict').optional().proto(12),
    fsGroup: int64(0, 2147483647).optional().proto(5),
    sysctls: listOf(sysctl).omitEmpty().proto(7),
    fsGroupChangePolicy: oneOf('OnRootMismatch', 'Always').optional().proto(9),
    seccompProfile: seccompProfile.optional().proto(10),
    appArmorProfile: appArmorProfile.optional().proto(11),
    seLinuxChangePolicy: oneOf('Recursive', 'MountOption').optional().proto(13),
  },
)
export interface PodSecurityContext extends Out<typeof podSecurityContext> {}
