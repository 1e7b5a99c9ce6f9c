/** What a container in a user namespace of its own cannot have of the machine's (moby `verifyPlatformContainerSettings`, in its words). */
import { Fault } from '#base/fault.ts'
import type { ContainerSpec } from '../contract/containers.ts'
import { remapOf, type Remap } from './remap.ts'

/** At the creation, and at each start: the engine may have been given its remapping since. */
export function checkUserNamespace(spec: ContainerSpec, remap: Remap | undefined): void {
  if (remapOf(remap, spec) === undefined) return
  if (spec.security?.privileged === true) throw new Fault('invalidArgument', 'privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running privileged mode')
  if (spec.network?.mode === 'host') throw new Fault('invalidArgument', "cannot share the host's network namespace when user namespaces are enabled")
  if (spec.pidMode === 'host') throw new Fault('invalidArgument', 'cannot share the host PID namespace when user namespaces are enabled')
}
