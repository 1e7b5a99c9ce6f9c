/**
 * Where BuildKit and the classic builder make different images of one Dockerfile. Each client gets the builder that it speaks to; that both
 * are one here must not show in what they make. (moby/moby `builder/dockerfile`; moby/buildkit `frontend/dockerfile/dockerfile2llb`,
 * `executor`, and tonistiigi/fsutil `copy`)
 */
import type { BuildDialect } from '../contract/builds.ts'

export interface DialectRules {
  /** Folders that WORKDIR makes belong to the stage's USER; else to root. */
  readonly workdirsOfUser: boolean
  /** Files of a context that came as an archive keep their owners where COPY and ADD name none; else they become root's. */
  readonly contextsKeepOwners: boolean
  /** `--chown` of ADD holds for what it unpacks, too; else that keeps its owners. */
  readonly archivesAreOwned: boolean
  /** A copied folder may not stand where a link or file stands, nor a file where a folder does; else what is copied takes the place. */
  readonly copiesKeepKinds: boolean
  /** Folders made above the destination of a copied folder have the owner of what is copied; else they are root's. */
  readonly foldersAboveAreOwned: boolean
  /** ARG counts where ENV has said the same name before; and holds in stages upon the stage. Else neither. */
  readonly argsAreVariables: boolean
  /** ONBUILD is told in the history. */
  readonly triggersAreHistory: boolean
  /** `/dev`, `/proc` and `/sys`, which a command's container is mounted on, stay in the image where they were missing. */
  readonly mountPointsStay: boolean
  /** Proxies of the request stand in a command's variables in both cases, and before what the Dockerfile says; else as given, and after it. */
  readonly proxiesWin: boolean
  /** Of the machine that a command sees, without a variable of its own; undefined: the id of its container. */
  readonly hostname: string | undefined
  /** What an image from scratch says as its WorkingDir. */
  readonly scratchWorkingDir: string | undefined
}

const rules: Readonly<Record<BuildDialect, DialectRules>> = {
  classic: {
    workdirsOfUser: false, contextsKeepOwners: false, archivesAreOwned: false, copiesKeepKinds: false, foldersAboveAreOwned: false, argsAreVariables: false,
    triggersAreHistory: true, mountPointsStay: false, proxiesWin: false, hostname: undefined, scratchWorkingDir: undefined,
  },
  buildkit: {
    workdirsOfUser: true, contextsKeepOwners: true, archivesAreOwned: true, copiesKeepKinds: true, foldersAboveAreOwned: true, argsAreVariables: true,
    triggersAreHistory: false, mountPointsStay: true, proxiesWin: true, hostname: 'buildkitsandbox', scratchWorkingDir: '/',
  },
}

export function rulesOf({ dialect = 'classic' }: { readonly dialect?: BuildDialect }): DialectRules {
  return rules[dialect]
}
