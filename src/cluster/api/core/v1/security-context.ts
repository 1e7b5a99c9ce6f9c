/** Security settings of pods and containers, core/v1. */
import type { Out } from '#schema/vocabulary.ts'
import { bool, int64, listOf, object, oneOf, string } from '#schema/vocabulary.ts'

export const capabilities = object(
  'core.v1.Capabilities',
  {
    add: listOf(string()).omitEmpty().proto(1).doc('Capabilities to add, without CAP_.'),
    drop: listOf(string()).omitEmpty().proto(2).doc('Capabilities to take away; ALL for all.'),
  },
  { doc: 'Kernel capabilities added to and taken from the default set.' },
)
export interface Capabilities extends Out<typeof capabilities> {}

export const seLinuxOptions = object(
  'core.v1.SELinuxOptions',
  {
    user: string().omitEmpty().proto(1).doc('SELinux user.'),
    role: string().omitEmpty().proto(2).doc('SELinux role.'),
    type: string().omitEmpty().proto(3).doc('SELinux type.'),
    level: string().omitEmpty().proto(4).doc('SELinux level.'),
  },
  { doc: 'SELinux labels.' },
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
  { doc: 'For Windows only.' },
)
export interface WindowsSecurityContextOptions extends Out<typeof windowsSecurityContextOptions> {}

export const seccompProfile = object(
  'core.v1.SeccompProfile',
  {
    type: oneOf('Unconfined', 'RuntimeDefault', 'Localhost').proto(1).doc('RuntimeDefault, Unconfined or Localhost.'),
    localhostProfile: string().optional().proto(2).doc('File of the profile on the node, for Localhost.'),
  },
  { doc: 'Which system calls are let through.' },
)
export interface SeccompProfile extends Out<typeof seccompProfile> {}

export const appArmorProfile = object(
  'core.v1.AppArmorProfile',
  {
    type: oneOf('Unconfined', 'RuntimeDefault', 'Localhost').proto(1).doc('RuntimeDefault, Unconfined or Localhost.'),
    localhostProfile: string().optional().proto(2).doc('Profile loaded on the node, for Localhost.'),
  },
  { doc: 'Which AppArmor profile confines.' },
)
export interface AppArmorProfile extends Out<typeof appArmorProfile> {}

export const securityContext = object(
  'core.v1.SecurityContext',
  {
    capabilities: capabilities.optional().proto(1).doc('Capabilities to add and drop.'),
    privileged: bool().optional().proto(2).doc('True gives it all the rights of root on the node.'),
    seLinuxOptions: seLinuxOptions.optional().proto(3).doc('SELinux labels.'),
    windowsOptions: windowsSecurityContextOptions.optional().proto(10).doc('For Windows only.'),
    runAsUser: int64(0, 2147483647).optional().proto(4).doc('User id to run as.'),
    runAsGroup: int64(0, 2147483647).optional().proto(8).doc('Group id to run as.'),
    runAsNonRoot: bool().optional().proto(5).doc('True refuses to start as user 0.'),
    readOnlyRootFilesystem: bool().optional().proto(6).doc('True makes the root file system read-only.'),
    allowPrivilegeEscalation: bool().optional().proto(7).doc('False stops processes from gaining more rights than their parent.'),
    procMount: oneOf('Default', 'Unmasked').optional().proto(9).doc('How /proc is masked.'),
    seccompProfile: seccompProfile.optional().proto(11).doc('Which system calls are let through.'),
    appArmorProfile: appArmorProfile.optional().proto(12).doc('AppArmor profile.'),
  },
  { doc: 'What a container may do.' },
)
export interface SecurityContext extends Out<typeof securityContext> {}

export const sysctl = object(
  'core.v1.Sysctl',
  {
    name: string().proto(1).doc('Name of the setting.'),
    value: string().always().proto(2).doc('Value of the setting.'),
  },
  { doc: 'A kernel setting of the pod\'s namespaces.' },
)
export interface Sysctl extends Out<typeof sysctl> {}

export const podSecurityContext = object(
  'core.v1.PodSecurityContext',
  {
    seLinuxOptions: seLinuxOptions.optional().proto(1).doc('SELinux labels.'),
    windowsOptions: windowsSecurityContextOptions.optional().proto(8).doc('For Windows only.'),
    runAsUser: int64(0, 2147483647).optional().proto(2).doc('User id to run as.'),
    runAsGroup: int64(0, 2147483647).optional().proto(6).doc('Group id to run as.'),
    runAsNonRoot: bool().optional().proto(3).doc('True refuses to start as user 0.'),
    supplementalGroups: listOf(int64()).omitEmpty().proto(4).doc('Further groups of the first process.'),
    supplementalGroupsPolicy: oneOf('Merge', 'Strict').optional().proto(12).doc('Merge adds groups of the image, Strict does not.'),
    fsGroup: int64(0, 2147483647).optional().proto(5).doc('Group that owns the volumes\' files.'),
    sysctls: listOf(sysctl).omitEmpty().proto(7).doc('Kernel settings of the pod.'),
    fsGroupChangePolicy: oneOf('OnRootMismatch', 'Always').optional().proto(9).doc('Whether files change owner at every start or only where needed.'),
    seccompProfile: seccompProfile.optional().proto(10).doc('Which system calls are let through.'),
    appArmorProfile: appArmorProfile.optional().proto(11).doc('AppArmor profile.'),
    seLinuxChangePolicy: oneOf('Recursive', 'MountOption').optional().proto(13),
  },
  { doc: 'What all containers of the pod may do unless they say otherwise.' },
)
export interface PodSecurityContext extends Out<typeof podSecurityContext> {}
