/** A container that has a bundle: what we know of it while it exists. */
import type { ProcessIdentity } from '#linux/contract/processes.ts'
import type { ContainerExit } from '../contract/runtime.ts'
import type { BundleFacts, BundlePaths } from './bundle.ts'

export interface Live {
  readonly id: string
  readonly paths: BundlePaths
  readonly facts: BundleFacts
  readonly init: ProcessIdentity
  /** The runtime's own program, while the init may still execute it; then undefined. */
  preparing: string | undefined
  /** Settles when conmon is gone and the exit, if it was one, has been reported. */
  gone: Promise<void>
  /** `starting`: an exit is reported only after the start has answered. */
  state: 'created' | 'starting' | 'running' | 'exited'
  exit: ContainerExit | undefined
  /** Until its conmon is gone. */
  readonly oomWatch: Disposable | undefined
  /** Execs that are about to run, each with a folder of its own in the bundle: the bundle goes after them. */
  readonly startingExecs: Set<Promise<unknown>>
}
