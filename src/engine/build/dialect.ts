/**
 * Where BuildKit and the classic builder make different images of one Dockerfile. Each client gets the builder that it speaks to; that both
 * are one here must not show in what they make. (moby/moby `builder/dockerfile`; moby/buildkit `frontend/dockerfile/dockerfile2llb`, `executor`)
 */
import type { BuildDialect } from '../contract/builds.ts'

export interface DialectRules {
  /** Folders that WORKDIR makes belong to the stage's USER; else to root. */
  readonly workdirsOfUser: boolean
  /** Files of a context that came as an archive keep their owners where COPY and ADD name none; else they become root's. */
  readonly contextsKeepOwners: boolean
  /** `/dev`, `/proc` and `/sys`, which a command's container is mounted on, stay in the image where they were missing. */
  readonly mountPointsStay: boolean
  /** Proxies of the request stand in a command's variables in both cases, and before what the Dockerfile says; else as given, and after it. */
  readonly proxiesWin: boolean
  /** What an image from scratch says as its WorkingDir. */
  readonly scratchWorkingDir: string | undefined
}

const rules: Readonly<Record<BuildDialect, DialectRules>> = {
  classic: { workdirsOfUser: false, contextsKeepOwners: false, mountPointsStay: false, proxiesWin: false, scratchWorkingDir: undefined },
  buildkit: { workdirsOfUser: true, contextsKeepOwners: true, mountPointsStay: true, proxiesWin: true, scratchWorkingDir: '/' },
}

export function rulesOf({ dialect = 'classic' }: { readonly dialect?: BuildDialect }): DialectRules {
  return rules[dialect]
}
