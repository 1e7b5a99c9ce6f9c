/** What the stages of one build share, for each platform that it is for. */
import type { Gate, KeyedSerial } from '#base/task.ts'
import type { Image } from '../contract/images.ts'
import type { BuildRequest } from '../http/backend.ts'
import type { BuilderOptions } from './builder.ts'
import type { CacheMounts } from './cache-mounts.ts'
import type { BuildCache, BuildLease } from './cache.ts'
import type { Contexts, MainContext } from './contexts.ts'
import type { StagePlan } from './dockerfile/stages.ts'
import type { RemoteSources } from './remote/remote-sources.ts'
import type { Roots } from './roots.ts'
import type { Once } from './once.ts'
import type { Spool } from './spool.ts'
import type { Based } from './stage-run.ts'
import type { StageState } from './stage-state.ts'
import type { BuildStep } from './transfer/cache-export.ts'
import type { ImportedCache } from './transfer/cache-import.ts'
import type { Vertices } from './vertices.ts'

/** One of the platforms that a build is for. */
export interface BuildTarget {
  readonly index: number
  readonly platform: string
  /** The client has named it; else it is the machine's. */
  readonly isGiven: boolean
  /** The build has others. */
  readonly isOneOfSeveral: boolean
}

/** What the stages of one platform share; all but `target` and `plan` is the same for all platforms. */
export interface BuildShared {
  readonly id: string
  /** The build's own folder; gone when the build is over. */
  readonly folder: string
  readonly request: BuildRequest
  readonly target: BuildTarget
  readonly plan: StagePlan
  readonly spool: Spool
  /** The main context, without what is ignored, and the Dockerfile. */
  readonly main: MainContext
  /** Seconds since 1970 that the result bears as its time; undefined: now. */
  readonly epochS: number | undefined
  /** Aborts when the client goes or another stage fails. */
  readonly signal: AbortSignal
  readonly options: BuilderOptions
  readonly cache: BuildCache
  /** The images that alone may serve as cache; undefined: whatever was built here. */
  readonly cacheSources: readonly Image[] | undefined
  /** Steps of others. */
  readonly imported: ImportedCache
  /** The steps of this build that came to an end, in their order, by key. */
  readonly ended: Map<string, BuildStep>
  readonly lease: BuildLease
  readonly cacheMounts: CacheMounts
  readonly steps: Gate
  readonly keys: KeyedSerial<string>
  readonly roots: Roots
  readonly remote: RemoteSources
  readonly contexts: Contexts
  readonly vertices: Vertices
  /** Stages of several platforms that come to the same take their bases and steps once. */
  readonly once: { readonly bases: Once<Based>; readonly steps: Once<StageState> }
}
